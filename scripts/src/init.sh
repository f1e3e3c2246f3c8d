#!/bin/sh
# The first process of the Linux guest in Tarn's tests. It says that userspace is up, runs what the kernel's command
# line asks for, and powers off (TARN-LINUX-TIME is the kernel's clock in nanoseconds):
#   tarn.cmd="..."   shell commands; their status is reported
#   tarn.shell       an interactive shell on the console instead of powering off
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
echo "TARN-LINUX-TIME $(sed -n 's/^now at \([0-9]*\) nsecs/\1/p' /proc/timer_list)"
for module in /modules/*.ko; do
	[ -f "$module" ] && insmod "$module"
done
line=$(cat /proc/cmdline)
cpus=$(grep -c '^processor' /proc/cpuinfo)
echo "TARN-LINUX-UP cpus=$cpus $(uname -r)"
grep -E 'arch_timer|IPI|uart' /proc/interrupts
case $line in
*tarn.cmd=\"*)
    command=${line#*tarn.cmd=\"}
    command=${command%%\"*}
    sh -c "$command"
    echo "TARN-LINUX-DONE rc=$?"
    ;;
esac
case $line in
*tarn.shell*)
    echo "Linux is up; 'poweroff -f' ends it."
    setsid cttyhack sh
    ;;
esac
echo "TARN-LINUX-OFF"
poweroff -f
