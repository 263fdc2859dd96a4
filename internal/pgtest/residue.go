package pgtest

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// MemoryInDirectory is the dynamic_shared_memory_type of a server that leaves nothing in /dev/shm when it is killed.
const MemoryInDirectory = "mmap"

// Forget takes out of the kernel the shared memory segment that a killed server has left, to be called before its data directory is
// removed: the kernel has room for some thousands, and nobody else would ever remove it. A segment that is in use stays.
func Forget(dataDir string) {
	text, err := os.ReadFile(filepath.Join(dataDir, "postmaster.pid"))
	if err != nil {
		return // it ended by itself and took everything along, or never ran
	}
	lines := strings.Split(string(text), "\n")
	if len(lines) < 7 {
		return
	}
	words := strings.Fields(lines[6])
	if len(words) != 2 {
		return
	}
	key, err := strconv.Atoi(words[0])
	if err != nil {
		return
	}
	id, err := strconv.Atoi(words[1])
	if err != nil {
		return
	}
	var d unix.SysvShmDesc
	if _, err := unix.SysvShmCtl(id, unix.IPC_STAT, &d); err == nil && d.Nattch == 0 && d.Perm.Key == int32(key) {
		_, _ = unix.SysvShmCtl(id, unix.IPC_RMID, nil)
	}
}
