#!/bin/sh
# The guest's first process: loads the drivers, makes the host's files its root, read-only but for /mnt and /run, and runs guest.sh there.
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for m in $(cat /mods/order); do
  case $m in
  scsi_debug) options="ptype=1 delay=0 num_tgts=1" ;;
  *) options= ;;
  esac
  insmod "/mods/$m.ko" $options || echo "insmod $m failed"
done
mount -t 9p -o trans=virtio,version=9p2000.L,ro,msize=262144,cache=loose host /host || echo "9p failed"
mount -t tmpfs t /host/run
mount -t tmpfs t /host/mnt
mkdir -p /host/mnt/work /host/mnt/scratch /host/mnt/targets
mount -t 9p -o trans=virtio,version=9p2000.L,ro,msize=262144 work /host/mnt/work
mount -t 9p -o trans=virtio,version=9p2000.L,rw,msize=262144,cache=none targets /host/mnt/targets
mount --bind /dev /host/dev
mount --bind /proc /host/proc
mount --bind /sys /host/sys
ip link set lo up
sleep 1
chroot /host /bin/bash /mnt/work/guest.sh > /dev/ttyS0 2>&1
echo "GUEST-RC $?" > /dev/ttyS0
sync
poweroff -f
