package programtest

import "syscall"

// child makes a process die with this one, however this one ends.
func child() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
