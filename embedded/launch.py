"""The last step before a child's own program: asks to die with the supervisor, gives up root, then executes it.

Run as `python -I -S launch.py '<json>' program argument...`. It is a program of its own, and not a function between
fork and exec, because the supervisor's process may hold threads (gRPC, the test runner) whose locks a forked Python
would inherit in a locked state.
"""

import json
import os
import sys

PR_SET_PDEATHSIG = 1
PR_SET_KEEPCAPS = 8
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
CAP_DAC_OVERRIDE = 1
CAP_DAC_READ_SEARCH = 2
CAPABILITY_VERSION_3 = 0x20080522

EXIT_PARENT_GONE = 125
EXIT_UNREACHABLE = 126


def main(arguments: list[str]) -> None:
    """Becomes the program in `arguments`; returns never, or raises OSError when it cannot be executed."""
    order = json.loads(arguments[0])
    command = arguments[1:]
    if order.get("listening"):
        hand_over(order["listening"])
    if order["uid"] is not None:
        become(order["uid"], order["gid"], walks=order["walks"])
    if "probe" in order:
        sys.exit(0 if all(reaches(order["probe"], path) for path in command) else EXIT_UNREACHABLE)
    if sys.platform == "linux":
        # After the change of user, because the kernel forgets the wish when the credentials change.
        prctl(PR_SET_PDEATHSIG, order["death_signal"])
        if os.getppid() != order["parent"]:
            # The supervisor died before the wish was made, so no signal will ever come.
            sys.exit(EXIT_PARENT_GONE)
    os.umask(0o077)
    os.execvp(command[0], command)  # noqa: S606


def hand_over(descriptors: list[int]) -> None:
    """Gives the program its listening sockets as systemd would: from descriptor 3 on, and in the environment."""
    import fcntl

    first = 3
    # Out of the way first: one of them may stand where another belongs.
    moved = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, first + len(descriptors)) for descriptor in descriptors]
    for place, descriptor in enumerate(moved, start=first):
        os.dup2(descriptor, place, inheritable=True)
    for descriptor in set(descriptors) - set(range(first, first + len(descriptors))):
        os.close(descriptor)
    os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(descriptors))}


def become(uid: int, gid: int, *, walks: bool) -> None:
    """Turns root into the given user, who may still walk through closed directories if it is to.

    PostgreSQL refuses to run as root, yet root's own data usually lies below /root, which nobody else may enter.
    Opening those directories to everyone would be a change to the machine that outlives us; so the process keeps one
    capability instead: to read and search whatever the modes say, but not to write.
    """
    # Loaded while this process may still read it: Python itself may lie in such a directory.
    import ctypes  # noqa: F401

    os.setgroups([])
    os.setgid(gid)
    if sys.platform != "linux" or not walks:
        os.setuid(uid)
        return
    prctl(PR_SET_KEEPCAPS, 1)
    os.setuid(uid)
    # Default containers drop the first and keep the second, which is wider than needed but all there is.
    for capability in (CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE):
        if keep_only(capability):
            return


def reaches(question: str, path: str) -> bool:
    """Says whether this process may run and read the file (by modes alone, as PostgreSQL asks), or enter the folder."""
    if question == "run":
        # Not every file that is read is executable, but each that is one must be.
        return os.access(path, os.R_OK) and (not path.rpartition("/")[0].endswith("/bin") or os.access(path, os.X_OK))
    try:
        os.stat(path + "/.")  # noqa: PTH116 pathlib would take the dot away
    except OSError:
        return False
    return True


def keep_only(capability: int) -> bool:
    """Reduces this process to one capability that survives exec; false if it does not have it."""
    import ctypes

    class Header(ctypes.Structure):
        _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))

    class Data(ctypes.Structure):
        _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))

    bit = 1 << capability
    header = Header(CAPABILITY_VERSION_3, 0)
    # Two words of capabilities; the second stays empty.
    data = (Data * 2)(Data(bit, bit, bit), Data(0, 0, 0))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.capset(ctypes.byref(header), ctypes.byref(data)) != 0:
        return False
    return bool(libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0) == 0)


def prctl(option: int, value: int) -> None:
    """Asks the kernel for an attribute of this process; raises OSError when it refuses."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl {option}")


if __name__ == "__main__":
    main(sys.argv[1:])
