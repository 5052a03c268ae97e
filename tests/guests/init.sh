#!/bin/busybox sh
# The first process of a guest. Its root is a folder of the host (gotax.root=), read-only by 9p, with a
# tmpfs over it. What the host has at gotax.also= is there too. Then it runs gotax.run= (base64).
b=/bin/busybox
value() { $b sed -n "s|.*gotax\.$1=\([^ ]*\).*|\1|p" /proc/cmdline; }
fail() { echo "GUEST-FAILED $*"; $b poweroff -f; }
$b mount -t devtmpfs dev /dev
$b mount -t proc proc /proc
for module in /modules/*.ko; do $b insmod "$module" || fail "$module does not load"; done
$b mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=512000,cache=loose host /host || fail "no 9p"
$b mount -t tmpfs top /top
$b mkdir /top/up /top/work
$b mount -t overlay -o "lowerdir=/host$(value root),upperdir=/top/up,workdir=/top/work" new /new ||
  fail "no overlay"
for folder in $(value also | $b tr , ' '); do
  $b mkdir -p "/new$folder" "/top/also$folder.up" "/top/also$folder.work"
  $b mount -t overlay -o \
    "lowerdir=/host$folder,upperdir=/top/also$folder.up,workdir=/top/also$folder.work" \
    also "/new$folder" || fail "no $folder"
done
for folder in proc:proc sysfs:sys devtmpfs:dev tmpfs:tmp tmpfs:run; do
  $b mkdir -p "/new/${folder#*:}"
  $b mount -t "${folder%:*}" none "/new/${folder#*:}"
done
$b mount -t cgroup2 none /new/sys/fs/cgroup
$b mount -t tracefs none /new/sys/kernel/tracing 2>/dev/null
$b ip link set lo up 2>/dev/null || $b ifconfig lo 127.0.0.1 up
$b chroot /new /bin/bash -c "$(value run | $b base64 -d)"
echo "GUEST-ENDED $?"
$b poweroff -f
