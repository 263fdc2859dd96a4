package postgres

import (
	"bufio"
	"bytes"
	"context"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"perdure/internal/driver"
)

// program is one of PostgreSQL's programs that works on a directory. Unlike the server it must not outlive the agent: the
// next agent would work on the same directory.
type program struct{ cmd *exec.Cmd }

func (d *Database) program(ctx context.Context, name string, args ...string) *program {
	c := d.command(ctx, name, args...)
	c.SysProcAttr.Pdeathsig = syscall.SIGKILL
	// A base backup has a child that receives log: it goes with its parent, or whoever reads what they say waits for it for ever.
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
	return &program{c}
}

// CombinedOutput runs the program and gives all it wrote.
func (p *program) CombinedOutput() ([]byte, error) {
	// The signal comes when the thread that started the program ends: it has to stay.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	return p.cmd.CombinedOutput()
}

var progressLine = regexp.MustCompile(`(\d+)/(\d+) kB`)

// withProgress runs the program, reports what it says of its progress and gives the rest of what it said last.
func (p *program) withProgress(what string, progress driver.Progress) (string, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	pipe, err := p.cmd.StderrPipe()
	if err != nil {
		return "", err
	}
	if err := p.cmd.Start(); err != nil {
		return "", err
	}
	lines := bufio.NewScanner(pipe)
	lines.Split(splitProgress)
	var said []string
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line == "" {
			continue
		}
		if m := progressLine.FindStringSubmatch(line); m != nil {
			done, err1 := strconv.ParseInt(m[1], 10, 64)
			total, err2 := strconv.ParseInt(m[2], 10, 64)
			if progress != nil && err1 == nil && err2 == nil {
				progress(what, done<<10, total<<10)
			}
			continue
		}
		if said = append(said, line); len(said) > 20 {
			said = said[1:]
		}
	}
	return strings.Join(said, "\n"), p.cmd.Wait()
}

// splitProgress splits at line feeds and carriage returns: progress is written over itself.
func splitProgress(data []byte, atEOF bool) (int, []byte, error) {
	if i := bytes.IndexAny(data, "\r\n"); i >= 0 {
		return i + 1, data[:i], nil
	}
	if atEOF && len(data) > 0 {
		return len(data), data, nil
	}
	return 0, nil, nil
}

// complaint gives the lines of a program's words that say what went wrong, at most three.
func complaint(out string) string {
	var found []string
	lines := strings.Split(strings.TrimSpace(out), "\n")
	for _, line := range lines {
		if strings.Contains(line, "error:") || strings.Contains(line, "fatal:") || strings.Contains(line, "FATAL:") || strings.Contains(line, "ERROR:") {
			found = append(found, strings.TrimSpace(line))
		}
	}
	if len(found) == 0 {
		return lines[len(lines)-1]
	}
	return strings.Join(found[max(0, len(found)-3):], "; ")
}
