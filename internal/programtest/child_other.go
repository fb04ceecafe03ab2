//go:build !linux

package programtest

import "syscall"

// child gives a process a group of its own; only Linux ends it with this process.
func child() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
