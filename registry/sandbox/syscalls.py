"""Numbers of the system calls that a worker is denied, for each supported machine.

Numbers: Linux `arch/x86/entry/syscalls/syscall_64.tbl` and `include/uapi/asm-generic/unistd.h`
(which aarch64 uses). A column is None where the machine has no such call.
"""

import errno
from collections.abc import Mapping

X86_64, AARCH64 = 0, 1
# Calls that came after this one are unknown here, and answered as an older kernel would.
NEWEST = 462

CLONE = (56, 220)
PRLIMIT = (302, 261)
TGKILL = (234, 131)
SECCOMP = (317, 277)
CAPSET = (126, 91)
PIVOT_ROOT = (155, 41)
OPEN_TREE = (428, 428)
MOVE_MOUNT = (429, 429)
MOUNT_SETATTR = (442, 442)

# What nobody who computes needs: whoever tries is ended at once.
FATAL: Mapping[str, tuple[int | None, int | None]] = {
    # the network, and other processes' sockets
    "socket": (41, 198),
    "socketpair": (53, 199),
    "connect": (42, 203),
    "bind": (49, 200),
    "listen": (50, 201),
    "accept": (43, 202),
    "accept4": (288, 242),
    "sendto": (44, 206),
    "sendmsg": (46, 211),
    "sendmmsg": (307, 269),
    "recvfrom": (45, 207),
    "recvmsg": (47, 212),
    "recvmmsg": (299, 243),
    # io_uring does the work of other calls where no filter sees it
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    # new programs and processes (clone makes threads too: see `seccomp`)
    "fork": (57, None),
    "vfork": (58, None),
    "execve": (59, 221),
    "execveat": (322, 281),
    # other processes
    "kill": (62, 129),
    "tkill": (200, 130),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "pidfd_open": (434, 434),
    "pidfd_send_signal": (424, 424),
    "pidfd_getfd": (438, 438),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "process_mrelease": (448, 448),
    "kcmp": (312, 272),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    # what happens to files of others
    "inotify_init": (253, None),
    "inotify_init1": (294, 26),
    "inotify_add_watch": (254, 27),
    "fanotify_mark": (301, 263),
    "lookup_dcookie": (212, 18),
    "vhangup": (153, 58),
    "nfsservctl": (180, 42),
    # the kernel's key rings
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    # file systems, and ways around what Landlock sees
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": PIVOT_ROOT,
    "chroot": (161, 51),
    "move_mount": MOVE_MOUNT,
    "open_tree": OPEN_TREE,
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": MOUNT_SETATTR,
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "fanotify_init": (300, 262),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    # namespaces, and the kernel itself
    "unshare": (272, 97),
    "setns": (308, 268),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "iopl": (172, None),
    "ioperm": (173, None),
    "syslog": (103, 116),
}

# What libraries may try without harm, and must do without: the error it gives them.
REFUSED: Mapping[str, tuple[int | None, int | None, int]] = {
    # Answered as by a kernel without it, libc makes its threads by clone, whose flags can be read.
    "clone3": (435, 435, errno.ENOSYS),
    # memory that no limit counts
    "memfd_create": (319, 279, errno.ENOSYS),
    "memfd_secret": (447, 447, errno.ENOSYS),
    "shmget": (29, 194, errno.EPERM),
    "shmat": (30, 196, errno.EPERM),
    "msgget": (68, 186, errno.EPERM),
    "semget": (64, 190, errno.EPERM),
    "mq_open": (240, 180, errno.EPERM),
    # limits, also of the superuser
    "setrlimit": (160, 164, errno.EPERM),
    # how processes are scheduled, also others of the same user; onnxruntime binds its threads to
    # cores where it can
    "sched_setaffinity": (203, 122, errno.EPERM),
    "sched_setscheduler": (144, 119, errno.EPERM),
    "sched_setparam": (142, 118, errno.EPERM),
    "sched_setattr": (314, 274, errno.EPERM),
    "setpriority": (141, 140, errno.EPERM),
    "ioprio_set": (251, 30, errno.EPERM),
    # out of the process group that is ended together
    "setsid": (112, 157, errno.EPERM),
    "setpgid": (109, 154, errno.EPERM),
    # what Landlock does not watch
    "chmod": (90, None, errno.EPERM),
    "fchmod": (91, 52, errno.EPERM),
    "fchmodat": (268, 53, errno.EPERM),
    "fchmodat2": (452, 452, errno.EPERM),
    "chown": (92, None, errno.EPERM),
    "lchown": (94, None, errno.EPERM),
    "fchown": (93, 55, errno.EPERM),
    "fchownat": (260, 54, errno.EPERM),
    "utime": (132, None, errno.EPERM),
    "utimes": (235, None, errno.EPERM),
    "futimesat": (261, None, errno.EPERM),
    "utimensat": (280, 88, errno.EPERM),
    "setxattr": (188, 5, errno.EPERM),
    "lsetxattr": (189, 6, errno.EPERM),
    "fsetxattr": (190, 7, errno.EPERM),
    "removexattr": (197, 14, errno.EPERM),
    "lremovexattr": (198, 15, errno.EPERM),
    "fremovexattr": (199, 16, errno.EPERM),
}
