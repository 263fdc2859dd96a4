// Package matrix is the failure-mode matrix: every way to fail, on every part of an estate, each as one story on an estate of its own.
//
// It is pure: it makes stories, chooses samples and keeps results; the lab carries them out and the checker judges.
package matrix

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// Fault is a way to fail.
type Fault string

// The ways to fail, in the order of the matrix.
const (
	Crash       Fault = "crash"
	Blackhole   Fault = "blackhole"    // nothing gets in or out
	ReceiveOnly Fault = "receive-only" // what it sends is lost
	SendOnly    Fault = "send-only"    // what is sent to it is lost
	DiskStall   Fault = "disk stall"   // whoever writes waits
	DiskFull    Fault = "disk full"
	Stopped     Fault = "SIGSTOP"
	Deadlock    Fault = "deadlock" // transactions wait for each other in a circle, again and again
)

// Part is what fails.
type Part string

// The parts, in the order of the matrix. u1 is at home in site a and has its in-sync copy in b.
const (
	Node    Part = "control node"
	Primary Part = "primary"
	Copy    Part = "in-sync copy"
	Relay   Part = "relay"
	Gateway Part = "gateway"
	App     Part = "application"
)

// Cell is one entry of the matrix.
type Cell struct {
	Fault Fault `json:"fault"`
	Part  Part  `json:"part"`
}

// String is the cell's name, for example "crash of the primary".
func (c Cell) String() string { return fmt.Sprintf("%s of the %s", c.Fault, c.Part) }

// Faults and Parts are the two sides of the matrix.
func Faults() []Fault {
	return []Fault{Crash, Blackhole, ReceiveOnly, SendOnly, DiskStall, DiskFull, Stopped, Deadlock}
}

// Parts lists the columns.
func Parts() []Part { return []Part{Node, Primary, Copy, Relay, Gateway, App} }

// Cells is the whole matrix, row by row.
func Cells() []Cell {
	var cells []Cell
	for _, f := range Faults() {
		for _, p := range Parts() {
			cells = append(cells, Cell{f, p})
		}
	}
	return cells
}

// ports are the services of a part, process its process in site a.
var (
	ports   = map[Part]string{Node: "node", Primary: "postgres", Copy: "postgres", Gateway: "gateway", App: "app"}
	process = map[Part]string{Node: "node-a", Gateway: "gateway-a", App: "corebank-a"}
	site    = map[Part]string{Node: "a", Primary: "a", Copy: "b", Gateway: "a", App: "a"}
	server  = map[Part]string{Primary: "u1", Copy: "copy of u1"}
	disks   = map[Part]string{Node: "node-a", Primary: "u1-a", Copy: "u1-b"}
)

// Skipped says why the cell cannot be carried out, "" where it can.
func (c Cell) Skipped() string {
	switch {
	case c.Part == Relay:
		return "there is no relay in this release"
	case c.Fault == Deadlock && c.Part != Primary:
		return "a process that waits for itself is a defect and no fault; transactions wait for each other in the primary"
	case (c.Fault == DiskFull || c.Fault == DiskStall) && disks[c.Part] == "":
		return "the part needs no disk to serve"
	}
	return ""
}

// body gives the statements before the start and those of the fault.
func (c Cell) body() (before, fault string) {
	const lasting = "8s"
	switch c.Fault {
	case Crash:
		if s := server[c.Part]; s != "" {
			return "", "fault crash database " + s
		}
		return "", "fault crash process " + process[c.Part]
	case Blackhole:
		return "", fmt.Sprintf("fault cut %s both ports %s %s", site[c.Part], ports[c.Part], lasting)
	case ReceiveOnly:
		return "", fmt.Sprintf("fault cut %s out ports %s %s", site[c.Part], ports[c.Part], lasting)
	case SendOnly:
		return "", fmt.Sprintf("fault cut %s in ports %s %s", site[c.Part], ports[c.Part], lasting)
	case DiskFull:
		return fmt.Sprintf("disk %s 1GiB\n", disks[c.Part]), "fault fill disk " + disks[c.Part]
	case DiskStall:
		return fmt.Sprintf("disk %s 1GiB stallable\n", disks[c.Part]), "fault stall disk " + disks[c.Part] + " 5s"
	case Deadlock:
		return "", "fault deadlock accounts of u1 " + lasting
	case Stopped:
		if s := server[c.Part]; s != "" {
			return "", "fault stop database " + s + " " + lasting
		}
		return "", "fault stop process " + process[c.Part] + " " + lasting
	default: // skipped
		return "", ""
	}
}

// Story is the cell's story.
func (c Cell) Story() string {
	before, fault := c.body()
	hot := ""
	if c.Fault == Deadlock {
		hot = " hot 40%" // the accounts that are fought for
	}
	return fmt.Sprintf(`estate two-city
%sstart
load rate 250 accounts 1000%s via a,b,c
wait load steady 40s
step %q failover
  %s
  pass 9s
  heal
  wait estate ready 120s
  wait gap closed 20s
end
check
`, before, hot, c.String(), fault)
}

// Sample is a seeded order of the cells that can be carried out; a rotating sample takes as many from its front as there is time for.
func Sample(seed uint64) []Cell {
	cells := slices.DeleteFunc(Cells(), func(c Cell) bool { return c.Skipped() != "" })
	r := rand.New(rand.NewPCG(seed, seed))
	r.Shuffle(len(cells), func(i, j int) { cells[i], cells[j] = cells[j], cells[i] })
	return cells
}

// Result is what became of a cell.
type Result struct {
	Cell
	Skipped string `json:"skipped,omitempty"`
	Passed  bool   `json:"passed"`
	GapMs   int64  `json:"gap_ms"`
	Lost    int64  `json:"lost"`
	Doubled int64  `json:"doubled"`
	Errors  int64  `json:"errors"`
	Seed    uint64 `json:"seed"`
	// Why says what was broken, or what kept the story from its end.
	Why string `json:"why,omitempty"`
}

// Judge gives how many cells passed (those that cannot be carried out are none of them), and which failed.
func Judge(results []Result) (passed int, failed []Cell) {
	for _, r := range results {
		switch {
		case !r.Passed:
			failed = append(failed, r.Cell)
		case r.Skipped == "":
			passed++
		}
	}
	return passed, failed
}

// Table writes the matrix in Markdown: every cell has its gap, lost and doubled, or the reason why it has not.
func Table(results []Result) string {
	find := func(c Cell) (Result, bool) {
		i := slices.IndexFunc(results, func(r Result) bool { return r.Cell == c })
		if i < 0 {
			return Result{}, false
		}
		return results[i], true
	}
	var b strings.Builder
	b.WriteString("| fault \\ part |")
	for _, p := range Parts() {
		fmt.Fprintf(&b, " %s |", p)
	}
	b.WriteString("\n|" + strings.Repeat(" --- |", len(Parts())+1) + "\n")
	for _, f := range Faults() {
		fmt.Fprintf(&b, "| %s |", f)
		for _, p := range Parts() {
			r, ok := find(Cell{f, p})
			switch {
			case Cell{f, p}.Skipped() != "", ok && r.Skipped != "":
				b.WriteString(" skipped |")
			case !ok:
				b.WriteString(" – |")
			case r.Passed:
				fmt.Fprintf(&b, " %d ms, %d/%d |", r.GapMs, r.Lost, r.Doubled)
			default:
				fmt.Fprintf(&b, " **FAILED** %d ms, %d/%d |", r.GapMs, r.Lost, r.Doubled)
			}
		}
		b.WriteString("\n")
	}
	b.WriteString("\nA cell is the client-seen write gap of u1 and lost/doubled transactions. Skipped:\n")
	said := map[string]bool{}
	for _, c := range Cells() {
		if why := c.Skipped(); why != "" && !said[why] {
			said[why] = true
			fmt.Fprintf(&b, "- %s: %s\n", c, why)
		}
	}
	return b.String()
}
