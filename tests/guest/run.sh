#!/bin/bash
# tests/guest/run.sh SCRIPT [ARGUMENT...]: runs a script as root on Debian 12's kernel, Linux 6.1,
# whatever kernel this host has. The guest sees this host's files, read-only, with a tmpfs over them:
# what it writes is gone at its end. Needs qemu-system-x86; fetches the kernel with apt-get. Without
# KVM everything takes some twenty times as long. The exit code is the script's.
set -euo pipefail
CACHE=${GOTAX_CACHE:-$HOME/.cache/gotax}/guest
mkdir -p "$CACHE"
if [ ! -e "$CACHE/initrd" ]; then
  WORK=$(mktemp -d); trap 'rm -rf "$WORK"' EXIT; cd "$WORK"
  KERNEL=$(apt-cache depends linux-image-amd64 | awk '/Depends: linux-image/ { print $2; exit }')
  apt-get download -qq -o APT::Sandbox::User=root "$KERNEL" busybox-static
  for PACKAGE in *.deb; do dpkg -x "$PACKAGE" all; done
  mkdir -p root/bin root/modules root/host root/top root/new root/proc root/dev
  cp all/bin/busybox root/bin/
  for MODULE in virtio virtio_ring virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci \
    fscache netfs 9pnet 9pnet_virtio 9p overlay; do
    find all/lib/modules -name "$MODULE.ko" -exec cp {} root/modules/ ';'
  done
  cat > root/init <<'INIT'
#!/bin/busybox sh
b=/bin/busybox
$b mount -t devtmpfs dev /dev; $b mount -t proc proc /proc
# Who needs whom is not the same in all releases: what fails is tried again.
for round in 1 2 3 4 5; do for m in /modules/*.ko; do $b insmod $m 2>/dev/null; done; done
$b mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=512000,cache=loose host /host || $b poweroff -f
$b mount -t tmpfs top /top; $b mkdir /top/up /top/work
$b mount -t overlay -o lowerdir=/host,upperdir=/top/up,workdir=/top/work new /new || $b poweroff -f
for d in proc:proc sysfs:sys devtmpfs:dev tmpfs:tmp tmpfs:run; do
  $b mkdir -p /new/${d#*:}; $b mount -t ${d%:*} none /new/${d#*:}; done
$b mount -t cgroup2 none /new/sys/fs/cgroup
$b mount -t tracefs none /new/sys/kernel/tracing 2>/dev/null
$b ip link set lo up 2>/dev/null || $b ifconfig lo 127.0.0.1 up
$b chroot /new /bin/bash -c "$($b sed -n 's/.*run=\([^ ]*\).*/\1/p' /proc/cmdline | $b base64 -d)"
echo "GUEST-ENDED $?"
$b poweroff -f
INIT
  chmod +x root/init
  (cd root && find . | bin/busybox cpio -o -H newc | gzip -1) > "$CACHE/initrd.new"
  cp all/boot/vmlinuz-* "$CACHE/vmlinuz"; mv "$CACHE/initrd.new" "$CACHE/initrd"
  cd /; rm -rf "$WORK"
fi
COMMAND="cd $(printf %q "$PWD"); export HOME=$(printf %q "$HOME") PATH=$(printf %q "$PATH")"
COMMAND+=" GOTAX=$(printf %q "${GOTAX:-gotax}"); $(printf '%q ' "$@")"
ACCELERATOR=${ACCELERATOR:-tcg,thread=multi} # or kvm, where it works
qemu-system-x86_64 -machine q35 -accel $ACCELERATOR -cpu max,la57=off,arch-capabilities=off -smp 2 -m "${MEMORY:-2048}" \
  -nographic -no-reboot -nodefaults -serial stdio -monitor none -nic none \
  -kernel "$CACHE/vmlinuz" -initrd "$CACHE/initrd" \
  -append "console=ttyS0 loglevel=1 panic=-1 mitigations=off nokaslr run=$(printf %s "$COMMAND" | base64 -w0)" \
  -virtfs local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap \
  < /dev/null | tr -d '\r' | awk '/^GUEST-ENDED / { code = $2; ended = 1; next } { print; fflush() }
    END { exit ended ? code : 99 }'
