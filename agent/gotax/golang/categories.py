"""Which part of Go's runtime a frame belongs to, and with it where a sample's CPU time went.

Two steps, because the first is worth caching per function name and the second runs per stack:
``function_code`` names the role of one function, ``classify`` reads the roles of a stack.

The rule, in the order in which ``classify`` applies it:

1. A leaf in C code is cgo: an address in a file that was read, and whose code is not Go's. A leaf
   in memory that the program made executable is generated code, the user's. Of any other leaf that
   is not in Go code nothing is known. Time in the kernel counts for the user frames that caused it.
2. The stack ends at the frame nearest the leaf among mcall, morestack, mstart, rt0_go and goexit.
   What an unwinder finds beyond is another goroutine's or stale (facts per version: stacks.py).
3. From the leaf outwards, frames that only help their caller are skipped and the first frame with
   a category decides. Innermost first, because ``ready < goready < send < chansend`` is a wake-up
   that the scheduler pays and ``gcAssistAlloc < mallocgc`` is collection; outermost first would
   give everything to the user's entry function.
4. Marking is told apart by who ordered it, further out: a worker and its mode, an assist, a write
   barrier.
5. A frame that is not the runtime's, before any of those, is the user's own work, or the
   kernel's on behalf of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from gotax.category import Category

# Codes 0..27 are Category values: "this frame decides, and so". The others:
TRANSPARENT: Final = 32
"""Counts for its caller: locks, futexes, clocks, atomics, copies, page-level heap work."""
HELPER: Final = 33
"""The caller's own work done by a routine: maps, strings, slices, interfaces, defer, panic."""
UNLISTED: Final = 34
"""A function of the runtime that no set names. Skipped; counted as runtime-other if it is all."""
GC_MARK: Final = 35
"""Marking on behalf of someone further out."""
CUT_MCALL: Final = 40
CUT_MORESTACK: Final = 41
CUT_MSTART: Final = 42
CUT_GOEXIT: Final = 43
CUT_ENTRY: Final = 44
NATIVE: Final = int(Category.CGO)
"""The code for a frame of C code: such frames have no Go name to ask ``function_code`` about."""
GENERATED: Final = int(Category.USER)
"""The code for machine code that the program made itself: no file has it, and it is the program's
work, as Go's own profiler has it."""
UNPLACED: Final = int(Category.UNKNOWN)
"""The code for an address that nothing is known of: as innermost frame that decides, it makes the
sample unknown, whatever called it."""


class Set(NamedTuple):
    """Functions of one source file with one code. ``name*`` stands for every name so begun."""

    source: str
    code: int
    names: str


_T = TRANSPARENT
_H = HELPER
_FIND = int(Category.SCHED_FIND_WORK)
_WAKE = int(Category.SCHED_WAKE)
_PARK = int(Category.SCHED_PARK)
_SWITCH = int(Category.SCHED_SWITCH)
_PREEMPT = int(Category.SCHED_PREEMPT)
_SYSMON = int(Category.SCHED_SYSMON)
_DEDICATED = int(Category.GC_MARK_DEDICATED)
_FRACTIONAL = int(Category.GC_MARK_FRACTIONAL)
_IDLE = int(Category.GC_MARK_IDLE)
_BACKGROUND = int(Category.GC_MARK_BACKGROUND)
_ASSIST = int(Category.GC_ASSIST)
_BARRIER = int(Category.GC_WRITE_BARRIER)
_SWEEP = int(Category.GC_SWEEP)
_SCAVENGE = int(Category.GC_SCAVENGE)
_STW = int(Category.GC_STW)
_FINALIZERS = int(Category.GC_FINALIZERS)
_NETPOLL = int(Category.NETPOLL)
_TIMERS = int(Category.TIMERS)
_ALLOC = int(Category.ALLOC)
_CHAN = int(Category.CHAN)
_LOCKS = int(Category.LOCKS)
_SYSCALL = int(Category.SYSCALL)
_STACK = int(Category.STACK_GROWTH)
_CGO = int(Category.CGO)
_OTHER = int(Category.RUNTIME_OTHER)

# Names of package runtime, Go 1.2 to 1.27. Receivers as pclntab writes them. Up to 1.4 much of the
# runtime was C, whose static functions have no package at all ("findrunnable"): same sets.
# fmt: off
RUNTIME: Final[tuple[Set, ...]] = (
    # --- where stacks end ----------------------------------------------------------------------
    Set("asm_*.s", CUT_MCALL, "mcall"),
    Set("asm_*.s", CUT_MORESTACK, "morestack morestack_noctxt morestackc newstackcall moreStack* morestack00 morestack01 morestack10 morestack11 morestack8 morestack16 morestack24 morestack32 morestack40 morestack48"),  # noqa: E501
    Set("proc.go", CUT_MSTART, "mstart mstart0 mstart1 mstart_stub"),
    Set("asm_*.s", CUT_GOEXIT, "goexit"),
    Set("asm_*.s", CUT_ENTRY, "rt0_go _rt0_go rt0_lib_go libInit _rt0_amd64* _rt0_arm64*"),

    # --- scheduler -----------------------------------------------------------------------------
    # findrunnable until 1.18; stealWork since 1.17; globrunqgetbatch since 1.25
    Set("proc.go", _FIND, "findRunnable findrunnable shouldStealTimers stealWork runqsteal runqgrab runqget globrunqget globrunqgetbatch checkRunqsNoP checkIdleGCNoP (*randomOrder).* (*randomEnum).* (*m).becomeSpinning (*m).snapshotAllp (*m).clearAllpSnapshot"),  # noqa: E501
    Set("proc.go", _WAKE, "wakep startm handoffp ready goready injectglist resetspinning startlockedm newm newM newG newP newm1 startTemplateThread templateThread allocm allocg mcommoninit mstartm0 mspinning wakeNetPoller mProfStackInit"),  # noqa: E501
    Set("lock_futex.go, lock_sema.go", _WAKE, "notewakeup"),
    Set("os_linux.go, signal_unix.go", _WAKE, "newosproc newosproc0 minit mpreinit asminit minitSignals minitSignalStack minitSignalMask retryOnEAGAIN"),  # noqa: E501
    Set("proc.go", _PARK, "stopm mPark stoplockedm mexit mquiesce"),
    Set("lock_futex.go, lock_sema.go", _PARK, "notesleep notetsleepg"),
    Set("os_linux.go, signal_unix.go", _PARK, "unminit unminitSignals mdestroy exitThread"),
    # newproc_m, park until 1.4; gdestroy since 1.22
    Set("proc.go", _SWITCH, "schedule execute park_m gosched_m goschedImpl goschedguarded goschedguarded_m goschedIfBusy goyield goyield_m gopark goparkunlock park park0 parkunlock gosched gosched0 golockedOSThread parkunlock_c Gosched goexit0 goexit1 gdestroy gfget gfput gfpurge dropg newproc newproc1 newproc_m malg saveAncestors LockOSThread UnlockOSThread lockOSThread unlockOSThread dolockOSThread dounlockOSThread Goexit"),  # noqa: E501
    Set("mgcpacer.go", _FIND, "(*gcControllerState).findRunnableGCWorker (*gcControllerState).assignWaitingGCWorker"),  # noqa: E501
    Set("coro.go (1.22)", _SWITCH, "newcoro coroswitch coroswitch_m corostart coroexit"),
    Set("sys_x86.go, stack.go", _SWITCH, "gostartcall gostartcallfn"),
    # Every signal but SIGPROF (below) is nearly always the request to preempt (1.14)
    Set("preempt.go, preempt_xreg.go", _PREEMPT, "asyncPreempt asyncPreempt2 wantAsyncPreempt isAsyncSafePoint canPreemptM osPreemptExtEnter osPreemptExtExit xRegSave xRegRestore xRegInitAlloc (*xRegPerP).*"),  # noqa: E501
    Set("proc.go", _PREEMPT, "preemptone preemptPark gopreempt_m"),
    Set("signal_unix.go, sys_linux_*.s", _PREEMPT, "preemptM signalM doSigPreempt sighandler sigtrampgo sigtramp sigFetchG adjustSignalStack adjustSignalStack2 setGsignalStack restoreGsignalStack sigfwdgo sigfwd cgoSigtramp fetchg"),  # noqa: E501
    Set("proc.go", _SYSMON, "sysmon retake sysmonUpdateGOMAXPROCS updateMaxProcsGoroutine"),
    # the GOMAXPROCS default and its updates (1.25)
    Set("cgroup_linux.go", _SYSMON, "adjustCgroupGOMAXPROCS defaultGOMAXPROCS defaultGOMAXPROCSUpdateGODEBUG defaultGOMAXPROCSUpdateEnable getCPUCount"),  # noqa: E501

    # --- network poller and timers --------------------------------------------------------------
    # netpoll on Linux is epollwait's frame until 1.19
    Set("netpoll.go, netpoll_epoll.go", _NETPOLL, "netpoll* epollwait kqueue kevent epollctl epollcreate epollcreate1 (*pollDesc).* (*pollCache).* pollInfo.* poll_runtime_* net_runtime_poll* wakeNetpoll addWakeupEvent processWakeupEvent drainWakeupEvent isWakeup"),  # noqa: E501
    # a heap of buckets until 1.13; checkTimers 1.14 to 1.22; (*timers).check since 1.23
    Set("time.go", _TIMERS, "checkTimers checkTimersNoP runtimer runOneTimer timerproc (*timer).* (*timers).* (*timersBucket).* timerWhen.* addtimer addtimerLocked deltimer modtimer resettimer cleantimers addAdjustedTimers adjusttimers clearDeletedTimers moveTimers dodeltimer dodeltimer0 doaddtimer siftupTimer siftdownTimer siftup siftdown updateTimer* verifyTimerHeap timejump timejumpLocked timeSleepUntil timeSleep startTimer stopTimer timenow resetForSleep goroutineReady badTimer nobarrierWakeTime blockTimerChan unblockTimerChan tsleep addtimer_m"),  # noqa: E501

    # --- garbage collector -----------------------------------------------------------------------
    # the mode is an inlined frame since 1.22; before, only the call's line tells it
    Set("mgcmark.go", _DEDICATED, "gcDrainMarkWorkerDedicated"),
    Set("mgcmark.go", _FRACTIONAL, "gcDrainMarkWorkerFractional"),
    Set("mgcmark.go", _IDLE, "gcDrainMarkWorkerIdle"),
    Set("mgc.go", _BACKGROUND, "gcBgMarkWorker backgroundgc bgMarkSignal.* (*bgMarkSignal).*"),
    # deductAssistCredit 1.20 to 1.26 in malloc.go, then malloc_stubs.go
    Set("mgcmark.go, malloc.go", _ASSIST, "gcAssistAlloc gcAssistAlloc1 gcParkAssist gcDrainN deductAssistCredit addAssistCredit"),  # noqa: E501
    # scanobject until 1.25
    Set("mgcmark.go", GC_MARK, "gcDrain gcDrainUntilPreempt scanobject scanblock scanstack scanframe scanframeworker scanConservative markroot* greyobject gcMarkRootPrepare gcPrepareMarkRoots gcNextMarkRoot gcMarkRootCheck gcMarkTinyAllocs gcFlushBgCredit gcScanFinalizer gcScanCleanup gcDumpObject gcscan_m scang scanbitvector enqueue enqueue1 blockspecial flushptrbuf flushobjbuf gcphasework restartg initCheckmarks clearCheckmarks gcRemoveStackBarrier* gcInstallStackBarrier gcUnwindBarriers gcLockStackBarriers gcUnlockStackBarriers gcTryLockStackBarriers gcMaxStackBarriers gcPrintStkbars stackBarrier nextBarrierPC setNextBarrierPC"),  # noqa: E501
    # Green Tea: an experiment in 1.25, the default since 1.26
    Set("mgcmark_greenteagc.go", GC_MARK, "scanObject scanSpan scanSpanPacked* scanObjectSmall scanObjectsSmall tryDeferToSpanScan extractHeapBitsSmall spanSetScans spanPtrMask* heapBitsSmallForAddrInline (*spanQueue).* (*spanSPMC).* newSpanSPMC freeDeadSpanSPMCs (*localSpanQueue).* (*spanScanOwnership).* spanQueueSteal objptr.* makeObjPtr gcUsesSpanInlineMarkBits dumpScanStats"),  # noqa: E501
    Set("mgcwork.go", GC_MARK, "(*gcWork).* (*workbuf).* wbufptr.* wbufptrOf getempty putempty getfull putfull getpartialorempty putpartial trygetfull handoff gcworkbuffree"),  # noqa: E501
    Set("mgcstack.go", GC_MARK, "(*stackScanState).* (*stackObject).* binarySearchTree"),
    Set("mgc.go, proc.go", GC_MARK, "pollFractionalWorkerExit pollWork gcMarkWorkAvailable gcBeginWork gcEndWork gchelper gchelperstart parfor* newparfor_m (*gcControllerState).enlistWorker (*gcControllerState).markWorkerStop gcIsMarkDone"),  # noqa: E501
    Set("preempt.go", GC_MARK, "suspendG resumeG xRegScan"),
    # one gcWriteBarrier until 1.20 (and one per register), gcWriteBarrier1 to 8 since 1.21
    Set("mwbbuf.go, asm_*.s", _BARRIER, "gcWriteBarrier* wbBufFlush wbBufFlush1 wbBufFlush1Debug (*wbBuf).*"),  # noqa: E501
    Set("mbarrier.go, mbitmap.go", _BARRIER, "wbMove wbZero writebarrier* gcmarkwb_m bulkBarrierPreWrite bulkBarrierPreWriteSrcOnly bulkBarrierBitmap heapBitsBulkBarrier typeBitsBulkBarrier callwritebarrier"),  # noqa: E501
    Set("atomic_pointer.go, mgcmark.go", _BARRIER, "atomicwb shade"),
    # (*mspan).sweep until 1.16; gosweepone until 1.10
    Set("mgcsweep.go", _SWEEP, "bgsweep sweepone sweepone_m gosweepone gosweepdone deductSweepCredit finishsweep_m gcPaceSweeper isSweepDone (*sweepLocked).* (*sweepLocker).* (*activeSweep).* (*sweepClass).* sweepClass.* (*mspan).sweep (*mspan).ensureSwept (*mspan).reportZombies mSpan_Sweep mSpan_EnsureSwept MSpan_Sweep MSpan_EnsureSwept clobberfree markfreed checkfreed setblockspecial (*mheap).nextSpanForSweep dumpFreeList sweepspan"),  # noqa: E501
    Set("mgc.go", _SWEEP, "gcSweep gcCopySpans"),
    Set("mgcsweepbuf.go", _SWEEP, "(*gcSweepBuf).*"),
    Set("mheap.go, mcentral.go, mcache.go", _SWEEP, "(*mheap).freeSpan (*mheap).reclaim* (*mcentral).freeSpan (*mcache).releaseAll (*mcache).prepareForSweep mCentral_FreeSpan mHeap_Reclaim* mHeap_Free MCentral_FreeSpan MHeap_Reclaim* MHeap_Free MHeap_ReclaimList mheap_free mheap_free_m freeSpecial freespecial newMarkBits newAllocBits nextMarkBitArenaEpoch"),  # noqa: E501
    Set("mgcwork.go", _SWEEP, "freeSomeWbufs"),
    Set("mgcmark_greenteagc.go", _SWEEP, "(*mspan).moveInlineMarks"),
    Set("mgcscavenge.go", _SCAVENGE, "bgscavenge (*pageAlloc).scavenge* (*scavengerState).* (*scavengeIndex).* (*scavChunkData).* scavChunkData.* (*scavChunkFlags).* (*atomicScavChunkData).* unpackScavChunkData (*piController).* gcPaceScavenger heapRetained printScavTrace readyForScavenger wakeScavenger scavengeSleep (*pallocData).findScavengeCandidate (*pallocData).hasScavengeCandidate fillAligned"),  # noqa: E501
    Set("mheap.go, mgclarge.go", _SCAVENGE, "(*mheap).scavenge* (*mspan).scavenge scavenge* mHeap_Scavenge MHeap_Scavenge MHeap_Scavenger (*mheap).enableMetadataHugePages"),  # noqa: E501
    Set("mem.go, mem_linux.go", _SCAVENGE, "sysUnused sysUnusedOS SysUnused"),
    Set("mgc.go", _STW, "GC gc startGC gcStart shouldtriggergc forcegchelper gcMarkDone gcMarkTermination gcMark gcSetTriggerRatio gcEffectiveGrowthRatio gcResetMarkState gcResetGState gcBgMarkPrepare gcBgMarkStartWorkers gcWaitOnMark setGCPhase setGCPercent gcFlushGCWork gcShouldScheduleWorker clearpools gcTest* itoaDiv fmtNSAsMS gcenable findGoroutineLeaks findMaybeRunnableGoroutines gcRestoreSyncObjects setSyncObjectsUntraceable mgc gc_m memorydump gc_g_ptr gc_itab_ptr gc_m_ptr gc_unixnanotime freeOSMemory registerPoolCleanup setgcpercent_m readgogc"),  # noqa: E501
    Set("mgcpacer.go", _STW, "(*gcControllerState).* gcControllerCommit readGOGC readGOMEMLIMIT"),
    Set("mgcmark.go", _STW, "gcWakeAllAssists allGsSnapshotSortedForGC (*g).internalBlocked"),
    Set("mgcwork.go, stack.go, mcheckmark.go", _STW, "prepareFreeWorkbufs freeStackSpans startCheckmarks endCheckmarks runCheckmark checkFinalizersAndCleanups gcComputeStartingStackSize"),  # noqa: E501
    Set("mheap.go", _STW, "gcParkStrongFromWeak gcWakeAllStrongFromWeak"),
    Set("proc.go", _STW, "stopTheWorld* startTheWorld* stwReason.* gcstopm freezetheworld forEachP forEachPInternal runSafePointFn procresize schedEnableUser gcprocs helpgc mhelpgc needaddgcproc stoptheworld starttheworld stopg (*p).destroy"),  # noqa: E501
    Set("mstats.go", _STW, "flushallmcaches flushallmcaches_m flushmcache cachestats updatememstats purgecachedstats (*cpuStats).*"),  # noqa: E501
    # runfinq until 1.24; runFinalizers since 1.25
    Set("mfinal.go", _FINALIZERS, "runfinq runFinalizers queuefinalizer createfing wakefing SetFinalizer finalizercommit getfinalizer walkfintab removeFinalizer_m setFinalizer_m finReadQueueStats blockUntilEmptyFinalizerQueue iterate_finq isGoPointerWithoutSpan"),  # noqa: E501
    Set("mcleanup.go (1.24)", _FINALIZERS, "runCleanups callCleanup AddCleanup* Cleanup.* (*cleanupQueue).* (*cleanupBlock).* maxCleanupGs"),  # noqa: E501
    Set("mheap.go", _FINALIZERS, "addfinalizer removefinalizer addCleanup addspecial removespecial getOrAddWeakHandle getWeakHandle (*immortalWeakHandle).* (*immortalWeakHandleMap).* internal_weak_runtime_* unique_runtime_*"),  # noqa: E501

    # --- work for the program --------------------------------------------------------------------
    # one mallocgc until 1.23; by kind since 1.24; by size class since 1.27 (an experiment in 1.26)
    Set("malloc.go, malloc_generated.go", _ALLOC, "mallocgc* newobject new mal malloc malloc0 mallocStub mallocPanic free gettype gogc goroundupsize largeAlloc_m markallocated markallocated_m smallNoScanStub smallScanNoHeaderStub smallStub tinyStub writeHeapBitsSmallStub writeHeapBitsDoubleCheck newarray rawmem largeAlloc nextFreeFast* nextReusable* (*mcache).nextFree (*mcache).nextReusableNoScan (*mcache).addReusableNoscan (*mcache).hasReusableNoscan profilealloc nextSample nextSampleNoFP fastexprand preMallocgcDebug postMallocgcDebug nextHeapRandBits freegc reusableSize computeRZlog redZoneSize postMallocgc cnew cnewarray unsafe_New unsafe_NewArray reflect_unsafe_New* settype* doubleCheck* inlinedMalloc"),  # noqa: E501
    Set("mcache.go, mcentral.go", _ALLOC, "(*mcache).refill (*mcache).allocLarge (*mcentral).cacheSpan (*mcentral).grow mCache_Refill MCache_Refill mcacheRefill_m mCentral_CacheSpan mCentral_Grow MCentral_CacheSpan MCentral_Grow"),  # noqa: E501
    Set("mheap.go", _ALLOC, "(*mheap).alloc (*mheap).alloc_m (*mheap).allocLarge (*mheap).allocNeedsZero mHeap_Alloc mHeap_Alloc_m MHeap_Alloc mheap_alloc mheap_alloc_m"),  # noqa: E501
    Set("mbitmap.go", _ALLOC, "heapSetType* heapBitsSetType* (*mspan).writeHeapBitsSmall (*mspan).nextFreeIndex (*mspan).refillAllocCache (*mspan).initHeapBits writeHeapBits.* writeHeapBitsForAddr heapBits.initSpan markspan"),  # noqa: E501
    Set("mgcmark.go", _ALLOC, "gcmarknewobject gcmarknewobject_m"),
    Set("slice.go", _ALLOC, "makeslice makeslice64"),
    Set("arena.go (1.20)", _ALLOC, "(*userArena).* newUserArena* (*mheap).allocUserArenaChunk (*mspan).userArenaNextFree userArena* writeUserArenaHeapBits.* (*mspan).writeUserArenaHeapBits freeUserArenaChunk"),  # noqa: E501
    Set("chan.go, select.go", _CHAN, "chansend* chanrecv* send recv sendDirect recvDirect syncsend closechan makechan makechan64 chanbuf chancap chanlen empty full chanparkcommit recvclosed timerchandrain selectgo selectgoImpl select* newselect sellock selunlock selparkcommit block (*hchan).* (*waitq).* racesync racenotify reflect_chan* reflect_rselect reflect_makechan dequeue dequeueg makechan_c"),  # noqa: E501
    Set("sema.go", _LOCKS, "semacquire semacquire1 semrelease semrelease1 cansemacquire semroot (*semaRoot).* (*semTable).* readyWithTime notifyList* sync_runtime_* internal_sync_runtime_* poll_runtime_Sem* net_runtime_Sem* semqueue semdequeue asyncsemacquire asyncsemrelease syncsemacquire syncsemcheck syncsemrelease less semawakeup1"),  # noqa: E501
    # entering and leaving only; exitsyscall0 and the fast paths have other names since 1.26
    Set("proc.go", _SYSCALL, "entersyscall* reentersyscall exitsyscall* syscallingThread.* setBlockOnExitSyscall syscall_runtime_*"),  # noqa: E501
    Set("stack.go", _STACK, "newstack oldstack growsyscallstack"),
    Set("cgocall.go", _CGO, "cgocall cgocallback cgocallbackg cgocallbackg1 cgocallback_gofunc unwindm callbackUpdateSystemStack badcgocallback cgounimpl cmalloc cfree endcgo cgocall_errno _cgo_allocate_internal _cgo_panic_internal cgoFormatErr"),  # noqa: E501
    Set("cgocall.go, cgocheck.go, cgo.go", _CGO, "cgoCheck* cgoIsGoPointer cgoInRange cgoUse cgoKeepAlive cgoNoCallback"),  # noqa: E501
    Set("proc.go", _CGO, "needm needAndBindM dropm cgoBindM newextram oneNewExtraM getExtraM putExtraM addExtraM lockextra unlockextra"),  # noqa: E501

    # --- the rest of the runtime's own ------------------------------------------------------------
    Set("proc.go, runtime1.go, os_linux.go", _OTHER, "main main_init main_main runtime_init init init.* doInit doInit1 schedinit args osinit check modulesinit typelinksinit itabsinit hashinit initAlgAES symtabinit linux_setup_vdso vdso_* _ELF_* _ELF64_* defaultGOMAXPROCSInit defaultMemProfileRate computeDivMagic initSizes mprofinit newsysmon reginit uname mlock mlockGsignal throwBadKernel osSetupTLS runtime_args runtime_envs isSecureMode secureFDs noSignalStack pluginftabverify inRange enableWER stkobjinit goargs goenvs goenvs_unix parsedebugvars reparsedebugvars parseRuntimeDebugVars finishDebugVarsSetup parsegodebug getGodebugEarly randinit alginit cpuinit mallocinit stackinit gcinit initSecureMode initSigmask initMetrics sysargs sysauxv archauxv osArchInit checkfds checkASM testAtomic64 moduledataverify moduledataverify1 addmoduledata addModuleItabs initWorkingDir runExitHooks addExitHook secure secureEnv vdsoauxv vdsoInit* vdsoParseSymbols vdsoFindVersion bootstrapRand bootstrapRandReseed mrandinit fastrandinit readRandom readTimeRandom getRandomData getHugePageSize getproccount libpreinit sigsave msigsave initsig environ parseByteCount atoi32 atoi64 atoi"),  # noqa: E501
    Set("exit", _OTHER, "beforefork afterfork fatalpanic fatalthrow dopanic_m dopanic startpanic_m startpanic crash dieFromSignal raisebadsignal printpanics preprintpanics"),  # noqa: E501
    # SIGPROF: the program profiles itself
    Set("proc.go, cpuprof.go, profbuf.go", _OTHER, "sigprof sigprofNonGo sigprofNonGoPC sigprofNonGoWrapper setcpuprofilerate* SetCPUProfileRate CPUProfile (*cpuProfile).* (*profBuf).* cpuproftick uintptrBytes countSub (*profAtomic).* profIndex.* newProfBuf setThreadCPUProfiler* setProcessCPUProfiler* resetcpuprofiler validSIGPROF lostProfileData _System _GC _ExternalCode _VDSO _Lost*"),  # noqa: E501
    Set("mprof.go", _OTHER, "BlockProfile MutexProfile MemProfile GoroutineProfile ThreadCreateProfile SetBlockProfileRate SetMutexProfileFraction goroutineProfile* goroutineLeakProfile* memProfileInternal blockProfileInternal mutexProfileInternal threadCreateProfileInternal pprof_* doRecordGoroutineProfile tryRecordGoroutineProfile* saveg copyBlockProfileRecord copyMemProfileRecord expandFrames iterate_memprof (*StackRecord).* (*MemProfileRecord).* (*goroutineProfileStateHolder).*"),  # noqa: E501
    Set("mstats.go, metrics.go", _OTHER, "ReadMemStats readmemstats_m readGCStats_m readgcstats_m readMetrics readMetrics* (*statAggregate).* (*statDepSet).* statDepSet.* (*heapStatsAggregate).* (*sysStatsAggregate).* (*cpuStatsAggregate).* (*gcStatsAggregate).* (*finalStatsAggregate).* (*schedStatsAggregate).* (*metricValue).* metricReader.* metricsLock metricsUnlock compute0 makeStatDepSet timeHistogramMetricsBuckets nsToSec godebug*"),  # noqa: E501
    Set("sigqueue.go, signal_unix.go", _OTHER, "sigsend signal_recv badsignal badsignalgo blockableSig fatalsignal sigNotOnStack signalDuringFork signame signal_ignored sigenable_* sigdisable_* os_sigpipe signal_enable signal_disable signal_ignore sigRecvPrepareForFixup sigNote* sigenable sigdisable sigignore sigInstallGoHandler clearSignalHandlers ensureSigM sigpipe sigInitIgnored"),  # noqa: E501
    Set("debug.go, heapdump.go, debugcall.go", _OTHER, "GOMAXPROCS SetDefaultGOMAXPROCS NumCPU NumGoroutine NumCgoCall schedtrace debugCall* writeheapdump_m dump* mdump dwrite dwritebyte makeheapobjbv finq_callback itab_callback flush getgcmask getgcmaskcb gcount mcount gomaxprocsfunc writeHeapDump setmaxthreads_m testSPWrite setMaxThreads setMaxStack"),  # noqa: E501
    Set("synctest.go (1.24)", _OTHER, "synctest* (*synctestBubble).* (*synctestGroup).* getOrSetBubbleSpecial"),  # noqa: E501

    # --- the caller's own work --------------------------------------------------------------------
    # hashmap*.go until 1.9, map*.go, map_swiss.go 1.24 and 1.25
    Set("map*.go", _H, "map* makemap makemap_c makemap64 makemap_small makeBucketArray hashGrow growWork* evacuate* evacuated bucketEvacuated bucketShift bucketMask tophash overLoadFactor tooManyOverflowBuckets advanceEvacuationMark isEmpty (*hmap).* (*bmap).* sameSizeGrow* moveToBmap copyKeys copyValues keys values ismapkey hash_* hashmap*"),  # noqa: E501
    Set("alg.go, asm_*.s", _H, "memhash* strhash* aeshash* f32hash f64hash c64hash c128hash interhash nilinterhash typehash stringHash bytesHash int32Hash int64Hash efaceHash ifaceHash trimHash readUnaligned32 readUnaligned64 mix mix32 rotl_* r4 r8 memequal* memeq* equal noequal nohash memcopy* strcopy intercopy nilintercopy memprint strprint interprint nilinterprint goalg haveGoodHash cmpbytes efaceeq ifaceeq f32equal f64equal c64equal c128equal strequal interequal nilinterequal eqstring cmpstring cmpbody memeqbody indexbytebody countByte indexShortStr aeshashbody"),  # noqa: E501
    Set("string.go, utf8.go, rune.go", _H, "concat* slicebytetostring* stringtoslice* slicerunetostring rawstring rawstringtmp rawbyteslice rawruneslice intstring gobytes gostring* findnull findnullw decoderune encoderune countrunes runetochar charntorune stringiter* stringDataOnStack stringStructOf hasPrefix hasSuffix hasprefix contains index stringslice* bytes strings_* cstring sliceslice* slicestring* slicearray catstring cstringToGo"),  # noqa: E501
    Set("slice.go, unsafe.go", _H, "growslice* nextslicecap slicecopy slicestringcopy makeslicecopy moveSlice* unsafeslice* unsafestring* isPowerOfTwo mulUintptr appendslice appendstr copy maxSliceCap panicmakeslice* panicunsafe*"),  # noqa: E501
    Set("mbarrier.go", _H, "typedmemmove typedmemclr typedslicecopy typedarrayclear memclrHasPointers reflectcallmove reflect_typed*"),  # noqa: E501
    Set("iface.go, type.go", _H, "conv* assertE* assertI* assertRTypeEq typeAssert interfaceSwitch getitab additab itab* (*itab).* (*itabTableType).* iface* eface* panicdottype* panicnildottype typesEqual typ2Itab buildTypeAssertCache buildInterfaceSwitchCache iterate_itabs unreachableMethod getStaticuint64s (*_type).* rtype.* toRType toType (*maptype).* (*functype).* (*structfield).* name.* pkgPath resolve* reflectOffs* reflect_* reflectlite_* moduleTypelinks getGCMask getGCMaskOnDemand buildGCMask bitCursor.* pointerMask typestring isDirectIface (*rtype).*"),  # noqa: E501
    Set("panic.go, signal_unix.go", _H, "defer* newdefer freedefer* jmpdefer gopanic gorecover recovery panic* recover recovery_m unwindstack gothrow fnName pcName pcOff goPanic* Panic* (*_panic).* (*_defer).* addOneOpenDeferFrame runOpenDeferFrame nextDefer popDefer badDefer getargp totaldefersize testdefersizes readvarintUnsafe sigpanic sigpanic0 shouldPushSigpanic canpanic throw fatal throwreturn throwinit isAbortPC (*PanicNilError).* printPreFatalDeferPanic dumpPanicDeferState reflectcallSave badPointer return0"),  # noqa: E501
    Set("error.go, print.go", _H, "(*TypeAssertionError).* errorString.* errorAddressString.* plainError.* boundsError.* (*boundsError).* appendIntStr itoa newTypeAssertionError stringsIndexByte print* gwrite recordForPanic hexdump* (*hexdumper).* hexdumpMarker.* writeErr* dlog* (*debugLog* getCachedDlogger putCachedDlogger errorCString.* newErrorCString newErrorString goprintf snprintf vprintf (*dlogger*"),  # noqa: E501
    # unwinding: for a profile, a stack copy, a scan or a logger's runtime.Callers
    Set("traceback.go, symtab.go, symtabinl.go", _H, "traceback* callers Callers Caller CallersFrames Stack FuncForPC (*Frames).* (*Func).* (*_func).* (*unwinder).* (*inlineUnwinder).* newInlineUnwinder inlineFrame.* inlinedCall.* (*pcExpander).* (*stackExpander).* gentraceback tracebackPCs setArgInfo isInjectedCall SetCgoTraceback cgoSymbolizerAvailable cgoTracebackAvailable tracebackHexdump tracebackdefers fpTracebackPCs fpTracebackPartialExpand fpunwindExpand expandCgoFrames expandCgo* cgoContextPCs callCgoSymbolizer (*cgoTraceback* gcallers goroutineheader showframe* showfuncinfo elideWrapperCalling isSystemGoroutine isExportedRuntime topofstack skipPCs tracealloc tracefree tracegc findfunc findfuncbucket findmoduledatap activeModules funcInfo.* srcFunc.* funcname* funcfile funcline* funcdata funcspdelta funcMaxSPDelta funcpkgpath funcNameForPrint funcNamePiecesForPrint funcNameForPrint* gofuncname cfuncname* funcarglen funcentry_go pcvalue* pcdatavalue* pcdatastart readvarint step stackmapdata (*moduledata).* (*stkframe).* getStackMap getArgInfo getArgInfoFast printArgs printAncestor* printOneAncestor badFuncInfoEntry badSrcFunc badSrcFuncName parentPC textAddr textOff makeProfStack* pprof_makeProfStack debugPinnerV1 totalMutexWaitTimeNanos"),  # noqa: E501
    Set("complex.go, float.go, softfloat64.go, vlrt.go", _H, "complex128div complex64div isNaN isnan isInf isFinite isposinf isneginf inf2one nan neginf posinf float64* float32* abs copysign floor ceil modf fastlog2 f64* f32* fadd* fsub* fmul* fdiv* feq* fgt* fge* fint* fneg* fpack* funpack* fcmp64 fcmp64c fuint64to32 fuint64to64 sqrtC int64* uint64* uint32* dodiv slowdodiv sqrt isnanu _d2v _div64by32 _mul64by32 mullu divlu fmin fmax fmin32 fmin64 fmax32 fmax64 forbits fandbits strmin strmax fintto* add64 sub64 mul64 div64"),  # noqa: E501
    Set("checkptr.go, race.go, msan.go, asan.go, libfuzzer.go", _H, "checkptr* race* Race* msan* asan* MSanRead MSanWrite domsanread ASanRead ASanWrite doasan* lsan* isvalidaddr abigen_sync_atomic_* libfuzzer* tsan* coverage* addCovMeta"),  # noqa: E501
    Set("env_posix.go, runtime.go, extern.go, pinner.go", _H, "gogetenv getenv getgoroot makeStringSlice argv_index setCrashFD setPanicOnFault setenv_c unsetenv_c clearenv_c envKeyEqual lowerASCII GOROOT Version KeepAlive (*Pinner).* (*pinner).* (*pinnerBits).* (*pinState).* setPinned isPinned pinnerGet* (*mspan).incPinCounter (*mspan).decPinCounter (*mspan).newPinnerBits (*mspan).getPinnerBits (*mspan).setPinnerBits (*mspan).refreshPinnerBits (*mspan).pinnerBitSize os_runtime_args syscall_Getpagesize syscall_runtime_envs gotraceback fipstls_runtime_arg0 (*godebugInc).* boring_* fips_* crypto_* Breakpoint getAuxv"),  # noqa: E501
    Set("rand.go", _H, "rand rand32 randn rand_* cheaprand* fastrand* legacy_fastrand* sync_fastrand* net_fastrand* os_fastrand* maps_rand extendRandom vgetrandom* allZero"),  # noqa: E501

    # --- the caller ------------------------------------------------------------------------------
    # 1.24: lock_spinbit.go
    Set("lock_futex.go, lock_sema.go, lock_spinbit.go, lockrank*.go", _T, "lock lock2 lockWithRank* unlock unlock2 unlock2Wake unlockWithRank lockInit lockVerifyMSize mutex* key8 key32 getLockRank acquireLockRank* releaseLockRank* checkRanks checkLockHeld checkWorldStopped worldStopped worldStarted printHeldLocks assert* lockRank.* lockRankMay* noteclear notetsleep notetsleep_internal semasleep semawakeup semacreate beforeIdle checkTimeouts (*rwmutex).* (*mLockProfile).* (*lockTimer).*"),  # noqa: E501
    Set("os_linux.go, sys_linux_*.s", _T, "futex* usleep* osyield* procyield* nanotime* cputicks walltime* unixnanotime time_now ticksPerSecond tickspersecond (*ticksType).* clone gettid getpid tgkill raise raiseproc kill madvise mmap munmap mincore mprotect brk0 sbrk0 sysMmap sysMunmap callCgo* read write write1 open closeonexec closefd pipe2 fcntl pipe create libcCall thr* getthrid* issetugid* clock_gettime_trampoline close* exit_trampoline fcntl_trampoline madvise_trampoline mmap_trampoline munmap_trampoline open_trampoline pipe2_trampoline raiseproc_trampoline read_trampoline setitimer_trampoline sigaction_trampoline sigaltstack_trampoline write_trampoline kevent_trampoline sched_yield_trampoline setNonblock nonblockingPipe access connect socket exit exit1 rt_sigaction sigaction sysSigaction sigprocmask rtsigprocmask sigaltstack sigreturn* sigreturn__sigaction setitimer timer_* settls sched_getaffinity sched_yield osRelax osPreempt* osStackAlloc osStackFree getsig setsig setSignalstackSP valgrind* setsigstack setsigsegv signalstack sigblock unblocksig unblocksignals msigrestore sigaddset sigdelset sigfillset (*sigctxt).* (*sigTabT).* sigprocmask* updatesigmask runPerThreadSyscall getrlimit memlimit setVMAName* pause prefetch* eventfd* probeFutex* kernelVersion.* getKernelVersion parseRelease fixSigactionForCgo configure64bits* timespec.* (*timespec).* (*timeval).* get_random_data"),  # noqa: E501
    Set("asm_*.s, stubs.go, memmove_*.s, memclr_*.s", _T, "systemstack systemstack_switch asmcgocall* gogo gosave* gosave_systemstack_switch save save_g load_g setg setg_gcc getg getgcallers* getcallers* getcallerpc getcallersp getcallerfp getclosureptr getfp memmove memclr* duffzero duffcopy reflectcall call16 call32 call64 call128 call256 call512 call1024 call2048 call4096 call8192 call1* call2* call3* call4* call5* call6* call8* callRet noescape noEscapePtr publicationBarrier add add1 addb subtract1 subtractb alignUp alignDown divRoundUp round bool2int retpoline* spillArgs unspillArgs emptyfunc nop abort breakpoint badsystemstack badctxt badmcall badmcall2 badmorestack* badreflectcall badunlockosthread stackcheck prepGoExitFrame secret* Secret* lessstack setmg stackguard switchtoM gogetcallerpc gogetcallersp setcallerpc badonm onM onM_signalok goexit_m ready_m roundup NAME eraseSecrets* noopSignal addSecret atomic* cas sync_atomic_* cas64 casp* casuintptr xadd* xchg* acquirem releasem mapBits mcmp mchr strcmp strncmp strstr switchToCrashStack* mayMoreStack* rewindmorestack nilfunc gobv fillstack funcPC efaceOf vdsoCall* inVDSOPage"),  # noqa: E501
    Set("proc.go", _T, "casgstatus castogscanstatus casfrom_Gscanstatus casfromgscanstatus casgcopystack casGToWaiting* casGFromPreempted casGToPreemptScan readgstatus isscanstatus dumpgstatus acquirep acquirep1 acquirepNoTrace releasep releasepNoTrace wirep pidleget pidlegetSpinning pidleput mget mgetSpecific mput runqput runqputslow runqputbatch runqdrain runqempty globrunqput globrunqputbatch globrunqputhead schedEnabled checkdead checkmcount incidlelocked allgadd allGsSnapshot atomicAllG* forEachG* getm mReserveID mDoFixup* mStackIsSystemAllocated usesLibcall preemptall procPin procUnpin acquireSudog releaseSudog addGSyscallNoP decGSyscallNoP hasIdle* haveexperiment lockedOSThread (*p).* (*m).* (*gQueue).* (*gList).* (*g).* pMask.* gcd updateTimerPMask setsSP testSchedLocalQueue* skipPleaseUseCallersFrames blockOnSystemStack* sigFetchGSafe quiesce stopscanstart helpcasgstatus badcasgstatus mstackalloc"),  # noqa: E501
    Set("runtime2.go, list.go, tagptr*.go", _T, "(*guintptr).* (*muintptr).* (*puintptr).* guintptr.* muintptr.* puintptr.* gclinkptr.* (*gclinkptr).* setGNoWB setMNoWB waitReason.* mWeakPointer.* newMWeakPointer (*maybeTraceablePtr).* (*maybeTraceableChan).* maybeTraceable* (*listHead).* (*listHeadManual).* taggedPointer.* taggedPointerPack (*lfstack).* lfstack* lfnodeValidate (*notInHeap).* (*notInHeapSlice).*"),  # noqa: E501
    # the page heap serves allocation, stacks, the collector and the scavenger alike
    Set("mheap.go, mpagealloc*.go, mpallocbits.go, mranges.go", _T, "(*mheap).* (*pageAlloc).* (*pageCache).* (*pageBits).* (*pallocBits).* (*pallocData).* pallocSum.* packPallocSum mergeSummaries findBitRange64 addrsToSummaryRange blockAlignSummaryRange chunkBase chunkIdx.* chunkIndex chunkPageIndex levelIndexToOffAddr offAddrToLevelIndex maxSearchAddr (*addrRange).* (*addrRanges).* addrRange.* makeAddrRange (*atomicOffAddr).* offAddr.* arenaBase arenaIdx.* arenaIndex heapArenaOf pageIndexOf spanOf* inheap inHeapOrStack makeSpanClass spanClass.* spanAllocType.* (*mSpanList).* (*mSpanQueue).* (*mSpanStateBox).* (*gcBits).* (*gcBitsArena).* newArenaMayUnlock recordspan spanHasSpecials spanHasNoSpecials (*specialsIter).* newSpecialsIter forEachSpecial setCleanupContext getCleanupContext clearCleanupContext setFinalizerContext clearFinalizerContext setTinyBlockContext inTinyBlock setprofilebucket* mlookup isUnusedUserArenaChunk inUserArenaChunk"),  # noqa: E501
    Set("mheap.go and friends until 1.12", _T, "(*mTreap).* (*treapIter).* (*treapNode).* treapIter.* checkTreapNode bestFit BestFit RecordSpan mHeap_* MHeap_* mSpan* MSpan* mCentral_* MCentral_* mCache_* MCache_* fixAlloc_* FixAlloc_*"),  # noqa: E501
    Set("mcache.go, mcentral.go, mspanset.go, mfixalloc.go", _T, "(*mcache).* (*mcentral).* allocmcache freemcache* getMCache gomcache (*spanSet).* (*spanSetBlockAlloc).* (*spanSetBlock).* headTailIndex.* (*headTailIndex).* (*atomicHeadTailIndex).* (*atomicMSpanPointer).* (*atomicSpanSetSpinePointer).* spanSetSpinePointer.* makeHeadTailIndex (*fixalloc).*"),  # noqa: E501
    Set("malloc.go, mem.go, msize.go", _T, "persistentalloc* inPersistentAlloc (*linearAlloc).* sys* Sys* mmap_fixed addrspace_free roundupsize SizeToClass sizeToClass MGetSizeClassInfo InitSizes initBloc memAlloc memAllocNoGrow memCheck memFree memRound (*memHdrPtr).* memHdrPtr.* needZeroAfterSysUnused*"),  # noqa: E501
    # marking, barriers and allocation all read the heap bitmap
    Set("mbitmap.go", _T, "(*mspan).* heapBits* (*heapBits).* typePointers.* (*markBits).* markBits.* markBitsFor* findObject isMarkedOrNotInHeap spanHeapBitsRange (*spanInlineMarkBits).* spanInlineMarkBits* progToPointerMask runGCProg materializeGCProg dematerializeGCProg readUintptr isgcmarked heapObjectsCanMove bswapIfBigEndian (*bitvector).* ptrbit unmarkspan unrollgcprog* unrollglobgcprog* getCheckmark setCheckmark unrollgcprog1"),  # noqa: E501
    # stacks are allocated for growth and for new goroutines, copied to grow and by the collector
    Set("stack.go", _T, "stackalloc stackfree stackpool* stackcache* poolalloc poolfree stacklog2 round2 copystack shrinkstack shrinkfinish adjust* syncadjustsudogs findsghi isShrinkStackSafe (*adjustinfo).* (*stackObjectRecord).*"),  # noqa: E501
    # the pacer's bookkeeping, spread over the paths that it watches
    Set("mgcpacer.go, mgclimit.go, mgc.go", _T, "(*gcControllerState).update (*gcControllerState).revise (*gcControllerState).addScannableStack (*gcControllerState).addGlobals (*gcControllerState).trigger (*gcControllerState).heapGoal (*gcControllerState).heapGoalInternal (*gcControllerState).memoryLimitHeapGoal (*gcControllerState).needIdleMarkWorker (*gcControllerState).addIdleMarkWorker (*gcControllerState).removeIdleMarkWorker gcTrigger.* (*gcCPULimiterState).* (*limiterEvent).* limiterEventStamp.* makeLimiterEventStamp"),  # noqa: E501
    # what the runtime records about itself, while it does the recorded thing
    Set("mprof.go, mstats.go, histogram.go", _T, "mProf_* mprof_GC MProf_* mProfStack* stkbucket newBucket eqslice (*bucket).* (*memRecordCycle).* (*mProfCycleHolder).* blockevent blocksampled mutexevent saveblockevent saveBlockEventStack (*consistentHeapStats).* (*heapStatsDelta).* (*sysMemStat).* mSysStat* (*timeHistogram).* record timediv (*gTraceState).* (*mTraceState).* (*pTraceState).* (*gcStats*"),  # noqa: E501
    Set("trace*.go", _T, "trace* (*trace* makeTraceFrame makeTraceFrames goStatusToTraceGoStatus pageTrace* pageTraceBuf.* initPageTrace writeFull finishPageTrace startPCforTrace allFrames readTrace StartTrace StopTrace ReadTrace startPCForTrace emitUnblockStatus logicalStackSentinel fpunwind* unsafeTrace* readTrace0 runtime_trace* newWakeableSleep (*wakeableSleep).* dumpStacksRec dumpTypesRec trace_user*"),  # noqa: E501
)

# Everywhere else, by full name. Functions that the runtime defines under another package's name
# (go:linkname) stand here; packages in PACKAGES are runtime through and through.
ELSEWHERE: Final[tuple[Set, ...]] = (
    Set("sync/mutex.go, rwmutex.go, cond.go, waitgroup.go, once.go", _LOCKS, "sync.(*Mutex).* sync.(*RWMutex).* sync.(*rlocker).* sync.(*Cond).* sync.(*WaitGroup).* sync.(*Once).* sync.(*notifyList).* sync.(*copyChecker).* sync.runtime_*"),  # noqa: E501
    Set("internal/sync/mutex.go (1.24)", _LOCKS, "internal/sync.(*Mutex).* internal/sync.runtime_*"),  # noqa: E501
    Set("internal/poll/fd_mutex.go", _LOCKS, "internal/poll.(*fdMutex).* internal/poll.runtime_Sem* net.(*fdMutex).* net.runtime_Sem*"),  # noqa: E501
    Set("sync/pool.go, unique, bcache", _STW, "sync.poolCleanup sync.runtime_registerPoolCleanup unique.registerCleanup unique.runtime_registerUniqueMapCleanup"),  # noqa: E501
    Set("runtime/netpoll.go", _NETPOLL, "internal/poll.runtime_poll* internal/poll.runtime_isPoll* net.runtime_poll*"),  # noqa: E501
    Set("runtime/time.go, time/sleep.go", _TIMERS, "time.Sleep time.newTimer time.startTimer time.stopTimer time.resetTimer time.modTimer time.sendTime time.goFunc"),  # noqa: E501
    Set("runtime/coro.go", _SWITCH, "iter.coroswitch iter.newcoro"),
    Set("runtime/malloc.go, arena.go", _ALLOC, "reflect.unsafe_New reflect.unsafe_NewArray internal/reflectlite.unsafe_New internal/bytealg.MakeNoZero arena.runtime_arena_*"),  # noqa: E501
    Set("runtime/chan.go, select.go", _CHAN, "reflect.chansend reflect.chansend0 reflect.chanrecv reflect.chanclose reflect.makechan reflect.rselect reflect.chanlen reflect.chancap internal/reflectlite.chanlen"),  # noqa: E501
    Set("runtime/mheap.go", _FINALIZERS, "weak.runtime_* internal/weak.runtime_* unique.runtime_blockUntilEmptyCleanupQueue"),  # noqa: E501
    Set("runtime/mgcscavenge.go, mgcpacer.go", _SCAVENGE, "runtime/debug.freeOSMemory"),
    Set("runtime/mgcpacer.go", _STW, "runtime/debug.setGCPercent runtime/debug.setMemoryLimit runtime/pprof.runtime_goroutineLeakGC"),  # noqa: E501
    Set("syscall/syscall_linux.go, asm_linux_*.s", _SYSCALL, "syscall.Syscall syscall.Syscall6 syscall.RawSyscall syscall.RawSyscall6 syscall.rawSyscallNoError syscall.rawVforkSyscall syscall.runtime_* syscall.runtimeSetenv syscall.runtimeUnsetenv"),  # noqa: E501
    Set("runtime/cgocall.go", _CGO, "syscall.cgocaller"),
    Set("runtime/sigqueue.go", _OTHER, "os/signal.signal* os.sigpipe os.runtime_beforeExit"),
    Set("runtime/cpuprof.go, mprof.go, mstats.go, heapdump.go", _OTHER, "runtime/pprof.readProfile runtime/pprof.runtime_* runtime/pprof.pprof_* runtime/debug.readGCStats runtime/debug.WriteHeapDump runtime/metrics.runtime_*"),  # noqa: E501
    Set("atomics count for their caller", _T, "sync/atomic.* time.runtimeNano sync.runtime_procPin sync.runtime_procUnpin sync.runtime_nanotime internal/sync.runtime_nanotime"),  # noqa: E501
)

# Assembly without a package, and the C-to-Go entries that cgo writes.
BARE: Final[tuple[Set, ...]] = (
    Set("asm_*.s", _T, "gogo asmcgocall callRet setg_gcc setmg_gcc gosave*"),
    Set("asm_*.s", _BARRIER, "gcWriteBarrier"),
    Set("asm_*.s, bytealg/*.s", _H, "aeshashbody cmpbody memeqbody indexbody indexbytebody countbody countbytebody debugCall*"),  # noqa: E501
    Set("internal/runtime/gc/scan/*.s (1.26)", GC_MARK, "expandAVX512_* expandAVX512*"),
    Set("asm_*.s", _CGO, "crosscall2 crosscall_amd64 _cgoexp_* _cgo_* x_cgo_*"),
    Set("rt0_linux_*.s", CUT_ENTRY, "_rt0_amd64* _rt0_arm64* main"),
    # static C functions of Go 1.4 and older that the sets above name by a beginning only
    Set("mgc0.c", GC_MARK, "markroot debug_scanblock scaninterfacedata markonly handlespecial addroot addroots addfinroots addframeroots addstackroots"),  # noqa: E501
    Set("netpoll.goc", _NETPOLL, "netpollblock netpollunblock checkerr deadline deadlineimpl readDeadline writeDeadline allocPollDesc"),  # noqa: E501
    Set("mheap.c, mcentral.c, mcache.c", _T, "MHeap_* MCentral_* ReleaseN freemcache freemcache_m"),
    Set("panic.c", _H, "popdefer rundefer freedefer"),
    Set("vDSO", _T, "[vdso] __vdso_* __kernel_*"),
)

# Whole packages. A name ending in "/" stands for everything below it.
PACKAGES: Final[tuple[tuple[str, int], ...]] = (
    ("internal/runtime/maps", HELPER),
    ("internal/runtime/gc/scan", GC_MARK),  # 1.26: Green Tea's vector kernels
    ("internal/runtime/gc", TRANSPARENT),
    ("internal/runtime/gc/internal/", TRANSPARENT),
    ("internal/runtime/atomic", TRANSPARENT),
    ("internal/runtime/exithook", _OTHER),
    ("internal/runtime/cgroup", TRANSPARENT),
    ("internal/runtime/math", TRANSPARENT),
    ("internal/runtime/sys", TRANSPARENT),
    ("internal/runtime/strconv", TRANSPARENT),
    ("internal/runtime/syscall", TRANSPARENT),  # 1.23 to 1.25
    ("internal/runtime/syscall/", TRANSPARENT),  # .../linux since 1.26
    ("internal/runtime/pprof/label", TRANSPARENT),
    ("internal/runtime/", UNLISTED),
    ("runtime/internal/atomic", TRANSPARENT),  # until 1.22
    ("runtime/internal/math", TRANSPARENT),
    ("runtime/internal/sys", TRANSPARENT),
    ("runtime/internal/syscall", TRANSPARENT),  # 1.18 to 1.22
    ("runtime/internal/", UNLISTED),
    ("internal/bytealg", HELPER),
    ("internal/stringslite", HELPER),
    ("internal/abi", TRANSPARENT),
    ("internal/cpu", TRANSPARENT),
    ("internal/goarch", TRANSPARENT),
    ("internal/goos", TRANSPARENT),
    ("internal/byteorder", TRANSPARENT),
    ("internal/chacha8rand", HELPER),
    ("internal/race", TRANSPARENT),
    ("internal/msan", TRANSPARENT),
    ("internal/asan", TRANSPARENT),
    ("internal/unsafeheader", TRANSPARENT),
)
# fmt: on


class Meaning(NamedTuple):
    """What a category is, and the class of Go's runtime/metrics that counts the same, or ""."""

    text: str
    metric: str = ""


# Go charges a processor's time by what the processor is set aside for, gotax by what a thread was
# seen doing. The two agree on collection and scavenging; the rest Go calls "user" or "idle".
_USER_CLASS = "part of /cpu/classes/user"
MEANING: Final[dict[Category, Meaning]] = {
    Category.USER: Meaning(
        "the program's own code, its libraries, and the runtime routines that do a statement's "
        "work: maps, strings, slices, interfaces, defer, panic",
        _USER_CLASS,
    ),
    Category.SCHED_FIND_WORK: Meaning(
        "a thread without work looks for some: run queues, stealing from other Ps, spinning",
        _USER_CLASS,
    ),
    Category.SCHED_WAKE: Meaning(
        "making a goroutine ready and waking, starting or handing a P to a thread for it",
        _USER_CLASS,
    ),
    Category.SCHED_PARK: Meaning(
        "putting a thread to sleep because there is nothing to do", "part of /cpu/classes/idle"
    ),
    Category.SCHED_SWITCH: Meaning(
        "switching goroutines, and creating and ending them", _USER_CLASS
    ),
    Category.SCHED_PREEMPT: Meaning(
        "interrupting a goroutine that has run long enough, signals included", _USER_CLASS
    ),
    Category.SCHED_SYSMON: Meaning("the monitor thread, which has no P"),
    Category.GC_MARK_DEDICATED: Meaning(
        "a mark worker that has a P to itself (Go 1.22 and newer)",
        "/cpu/classes/gc/mark/dedicated",
    ),
    Category.GC_MARK_FRACTIONAL: Meaning(
        "a mark worker with a share of a P, where a quarter of GOMAXPROCS is far from a whole "
        "number (Go 1.22 and newer)",
        "/cpu/classes/gc/mark/dedicated",
    ),
    Category.GC_MARK_IDLE: Meaning(
        "a mark worker on a P that has nothing else to do (Go 1.22 and newer)",
        "/cpu/classes/gc/mark/idle",
    ),
    Category.GC_MARK_BACKGROUND: Meaning(
        "a mark worker whose mode is not visible: all of them before Go 1.22",
        "/cpu/classes/gc/mark/dedicated and .../idle",
    ),
    Category.GC_ASSIST: Meaning(
        "marking that an allocating goroutine has to do itself", "/cpu/classes/gc/mark/assist"
    ),
    Category.GC_WRITE_BARRIER: Meaning(
        "telling a running collection which pointers the program overwrites", _USER_CLASS
    ),
    Category.GC_SWEEP: Meaning(
        "finding free objects after marking, in the background and before allocating", _USER_CLASS
    ),
    Category.GC_SCAVENGE: Meaning(
        "returning free memory to the kernel", "/cpu/classes/scavenge/total"
    ),
    Category.GC_STW: Meaning(
        "stopping and starting the world, and the steps of a cycle between its phases",
        "/cpu/classes/gc/pause, in part",
    ),
    Category.GC_FINALIZERS: Meaning(
        "queueing finalizers, cleanups and weak pointers (the functions they run are the "
        "program's own)",
        _USER_CLASS,
    ),
    Category.NETPOLL: Meaning("the network poller: epoll_wait and its bookkeeping", _USER_CLASS),
    Category.TIMERS: Meaning("keeping and firing timers, time.Sleep", _USER_CLASS),
    Category.ALLOC: Meaning("allocating memory", _USER_CLASS),
    Category.CHAN: Meaning("channel operations and select", _USER_CLASS),
    Category.LOCKS: Meaning(
        "package sync's locks and the semaphores below them, contended or not", _USER_CLASS
    ),
    Category.SYSCALL: Meaning(
        "system calls and page faults on behalf of the program, and entering and leaving them",
        _USER_CLASS,
    ),
    Category.STACK_GROWTH: Meaning("enlarging a goroutine's stack", _USER_CLASS),
    Category.CGO: Meaning("C code, and crossing over to it and back", _USER_CLASS),
    Category.RUNTIME_OTHER: Meaning(
        "start-up, signals for the program, self-profiling and statistics; runtime functions that "
        "no set below names"
    ),
    Category.NATIVE: Meaning("a process that is not Go"),
    Category.UNKNOWN: Meaning("no frame with a known purpose: the stack is missing or broken"),
}


# What ends the name of a closure, from its end to its beginning: so one pass finds all of it.
_CLOSURE_REVERSED = re.compile(
    r"(?:\d+(?:cnuf\.|parwog\.|parwrefed\.|egnar-|\.)|0iba\.|lanretniiba\.|mf-)*"
)
_BRACKETS = re.compile(r"\[[^\[\]]*\]")
_NESTING_MAX = 8  # of type arguments in brackets; deeper names match nothing


class _Names:
    """The names of some sets, ready to be looked up: whole names, then the longest beginning."""

    __slots__ = ("_beginnings", "_lengths", "_whole")

    def __init__(self, sets: Sequence[Set]) -> None:
        self._whole: dict[str, int] = {}
        self._beginnings: dict[str, int] = {}
        for row in sets:
            for name in row.names.split():
                if name.endswith("*"):
                    self._beginnings[name[:-1]] = row.code
                else:
                    self._whole[name] = row.code
        self._lengths = sorted({len(beginning) for beginning in self._beginnings}, reverse=True)

    def whole(self, name: str) -> int | None:
        return self._whole.get(name)

    def find(self, name: str) -> int | None:
        code = self._whole.get(name)
        if code is not None:
            return code
        beginnings = self._beginnings
        for length in self._lengths:
            code = beginnings.get(name[:length])
            if code is not None:
                return code
        return None


_RUNTIME_NAMES = _Names(RUNTIME)
_ELSEWHERE_NAMES = _Names(ELSEWHERE)
_BARE_NAMES = _Names(BARE)
_WHOLE_PACKAGES = {package: code for package, code in PACKAGES if not package.endswith("/")}
_PACKAGE_TREES = tuple((package, code) for package, code in PACKAGES if package.endswith("/"))
_TREES = tuple(tree for tree, _ in _PACKAGE_TREES)
_ELSEWHERE_PACKAGES = frozenset(
    name[: name.index(".")] for row in ELSEWHERE for name in row.names.split()
)
_USER: Final = int(Category.USER)


def function_code(name: str) -> int:
    """The role of a Go function, by the name that pclntab gives it.

    Returns a ``Category`` value (the frame decides), ``TRANSPARENT``, ``HELPER``, ``UNLISTED``,
    ``GC_MARK`` or one of the ``CUT_`` codes. ``Category.USER`` is every function outside the
    runtime, whatever it is called: only the import path counts, so neither
    ``foo.com/bar/runtime.gcBgMarkWorker`` nor ``main.(*runtime).schedule`` is taken for the
    runtime's. Frames of C code have no Go name: use ``NATIVE`` (``"[vdso]"`` and the names of the
    vDSO's functions are understood). Cache the answer; the same few thousand names recur.
    """
    if not name.startswith("["):  # "[vdso]"
        # Type arguments may contain import paths: "F[go.shape.struct { a/b.T }]".
        for _ in range(_NESTING_MAX):
            if "[" not in name:
                break
            name, replaced = _BRACKETS.subn("", name)
            if not replaced:
                break
    dot = name.find(".", name.rfind("/") + 1)
    if dot == -1:
        return _bare_code(name)
    package = name[:dot]
    if package == "runtime":
        code = _runtime_code(name[dot + 1 :])
        return UNLISTED if code is None else code
    if package in _ELSEWHERE_PACKAGES:
        code = _ELSEWHERE_NAMES.find(_without_closures(name))
        if code is not None:
            return code
    code = _WHOLE_PACKAGES.get(package)
    if code is not None:
        return code
    if package == "_":
        # Go 1.27 calls a closure of an inlined function "_.goready.func1", and may do so to a
        # user's "main" or "init" as well: only names that could hardly be others' are believed.
        code = _RUNTIME_NAMES.whole(_without_closures(name[2:]))
        return _USER if code is None or code == _OTHER else code
    if package.startswith(_TREES):
        return next(code for tree, code in _PACKAGE_TREES if package.startswith(tree))
    if name.startswith(("type:.", "type..")):  # the compiler's equality and hash functions
        return HELPER
    return _USER


def _without_closures(name: str) -> str:
    """The function that a closure or a wrapper was made for."""
    found = _CLOSURE_REVERSED.match(name[::-1])
    return name[: len(name) - found.end()] if found else name


def _runtime_code(name: str) -> int | None:
    """The code of ``name``, which is relative to package runtime; None when no set has it."""
    code = _RUNTIME_NAMES.whole(name)
    if code is not None:
        return code
    name = _without_closures(name)
    code = _RUNTIME_NAMES.whole(name)
    if code is not None:
        return code
    # A closure of an inlined function is named after both: "send.goready.func1",
    # "gcMarkTermination.forEachP.func6", "(*mheap).alloc.(*mheap).grow.func1": the inner's work.
    _, is_method, method = name.rpartition(".(")
    if is_method:
        return _RUNTIME_NAMES.find(f"({method}")
    outer, _, last = name.rpartition(".")
    if _RUNTIME_NAMES.whole(outer) is not None:
        code = _RUNTIME_NAMES.find(last)
    if code is None:
        code = _RUNTIME_NAMES.find(name)
    if code is None and name.startswith("(*"):
        # The compiler's wrapper of a value's method, for use through a pointer or an interface.
        code = _RUNTIME_NAMES.find(name[2:].replace(")", ""))
    return code


def _bare_code(name: str) -> int:
    """A name without a package: assembly, the vDSO, or the C functions of Go 1.4 and older."""
    code = _BARE_NAMES.find(name)
    if code is None:
        code = _RUNTIME_NAMES.whole(name)
    return _USER if code is None else code


# Who ordered a piece of marking, the stronger wins: within a worker or an assist, a flushed write
# barrier buffer is part of its work, and the worker's mode says more than that it is a worker.
_OWNER_STRENGTH: Final = {
    _DEDICATED: 4,
    _FRACTIONAL: 4,
    _IDLE: 4,
    _ASSIST: 3,
    _BACKGROUND: 2,
    _BARRIER: 1,
}
_ROOTS: Final = {
    CUT_MCALL: Category.SCHED_SWITCH,  # on g0 for a goroutine that stops: the scheduler
    CUT_MORESTACK: Category.STACK_GROWTH,
    CUT_MSTART: Category.SCHED_SYSMON,  # its frame is lost when a frameless leaf runs
    CUT_GOEXIT: Category.UNKNOWN,  # the goroutine's function is missing: it could be anyone's
    CUT_ENTRY: Category.RUNTIME_OTHER,
}
_CATEGORIES: Final = tuple(Category)
_CATEGORY_COUNT: Final = len(_CATEGORIES)


def classify(codes: Sequence[int], in_kernel: bool, native_leaf: bool) -> Category:
    """Where a sample's CPU time went. Total: every sequence of codes has exactly one answer.

    ``codes`` are the ``function_code`` of the user frames, leaf first, inlined ones included
    (``NATIVE`` for frames of C code). ``in_kernel``: the sample was in the kernel, below these
    frames: a system call, a page fault, an interrupt. ``native_leaf``: the innermost user frame is
    C code (not the vDSO, whose code is transparent).

    ``Category.UNKNOWN`` means that no frame tells: no user frames at all, or helpers only, either
    up to the end of a broken stack or up to goexit. ``Category.NATIVE`` is never returned; it is
    for processes that are not Go.
    """
    if native_leaf:
        return Category.CGO
    unlisted = False
    for index, code in enumerate(codes):
        if code in (TRANSPARENT, HELPER):
            continue
        if 0 <= code < _CATEGORY_COUNT:
            if code == _USER:
                if unlisted:
                    return Category.RUNTIME_OTHER
                return Category.SYSCALL if in_kernel else Category.USER
            if code in _OWNER_STRENGTH:
                return _owner(codes, index)
            return _CATEGORIES[code]
        if code == GC_MARK:
            return _owner(codes, index)
        if code in _ROOTS:
            if unlisted and code in (CUT_GOEXIT, CUT_MSTART):
                return Category.RUNTIME_OTHER
            return _ROOTS[code]
        unlisted = True  # UNLISTED, and any code this function was never given
    return Category.RUNTIME_OTHER if unlisted else Category.UNKNOWN


def _owner(codes: Sequence[int], start: int) -> Category:
    """The strongest owner of marking from ``start`` outwards, up to where the stack is cut."""
    owner, strength = _BACKGROUND, 0
    for index in range(start, len(codes)):
        code = codes[index]
        if code in _ROOTS:
            break
        found = _OWNER_STRENGTH.get(code, 0)
        if found > strength:
            owner, strength = code, found
    return _CATEGORIES[owner]


def names_of(code: int) -> Iterator[tuple[str, str]]:
    """All (source file, names) with ``code``, in the table's order: for the published table."""
    for row in (*RUNTIME, *ELSEWHERE, *BARE):
        if row.code == code:
            yield row.source, row.names
    for package, package_code in PACKAGES:
        if package_code == code:
            yield package, package + ("*" if package.endswith("/") else ".*")
