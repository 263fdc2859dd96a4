package story

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// Progress shows people how a story goes: steps, statements with the time they took, and the load's live figures.
// On a terminal the statement in hand is redrawn in place; elsewhere it is told again every few seconds.
type Progress struct {
	out      io.Writer
	terminal bool
	width    int
	// live gives the figures of the load, "" without load.
	live  func() string
	start time.Time

	mu     sync.Mutex
	doing  string
	since  time.Time
	stands string
	indent string
	drawn  bool // a line without its end is on the terminal
	stop   chan struct{}
	wg     sync.WaitGroup
}

// redraw and retell are how often the statement in hand is shown, on a terminal and elsewhere.
const (
	redraw = 200 * time.Millisecond
	retell = 10 * time.Second
)

// NewProgress shows to out; live may be nil. Close it.
func NewProgress(out io.Writer, terminal bool, width int, live func() string) *Progress {
	if live == nil {
		live = func() string { return "" }
	}
	p := &Progress{out: out, terminal: terminal, width: max(width, 40), live: live, start: time.Now(), stop: make(chan struct{})}
	every := retell
	if terminal {
		every = redraw
	}
	p.wg.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				p.mu.Lock()
				p.show()
				p.mu.Unlock()
			case <-p.stop:
				return
			}
		}
	})
	return p
}

// Close ends the display.
func (p *Progress) Close() {
	close(p.stop)
	p.wg.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wipe()
}

// Say shows a line.
func (p *Progress) Say(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.line("%s", fmt.Sprintf(format, args...))
}

// line shows a whole line; the caller holds mu.
func (p *Progress) line(format string, args ...any) {
	p.wipe()
	fmt.Fprintf(p.out, "%s  %s\n", p.clock(), strings.TrimRight(fmt.Sprintf(p.indent+format, args...), " "))
}

func (p *Progress) clock() string {
	s := int(time.Since(p.start).Seconds())
	return fmt.Sprintf("%02d:%02d", s/60, s%60)
}

// wipe takes the unfinished line off the terminal.
func (p *Progress) wipe() {
	if p.drawn {
		fmt.Fprint(p.out, "\r\x1b[K")
		p.drawn = false
	}
}

func (p *Progress) stepBegins(s Step) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.line("")
	p.line("== %s (%s)", s.Name, s.Mode)
	p.indent = "   "
}

func (p *Progress) stepEnds() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.indent = ""
}

func (p *Progress) begin(what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.doing, p.since, p.stands = what, time.Now(), ""
	if p.terminal {
		p.show()
	}
}

// Note says how the statement in hand stands.
func (p *Progress) Note(stands string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stands = stands
}

func (p *Progress) end(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	took := time.Since(p.since)
	mark := "✓"
	if err != nil {
		mark = "✗"
	}
	p.line("%s %s  %s%s", mark, p.doing, round(took), p.figures())
	p.doing = ""
}

// show draws the statement in hand; the caller holds mu.
func (p *Progress) show() {
	if p.doing == "" {
		return
	}
	text := fmt.Sprintf("%s… %s  %s", p.indent, p.doing, round(time.Since(p.since)))
	if p.stands != "" {
		text += "  " + p.stands
	}
	text += p.figures()
	if !p.terminal {
		p.line("%s", strings.TrimPrefix(text, p.indent))
		return
	}
	p.wipe()
	fmt.Fprint(p.out, clip(p.clock()+"  "+text, p.width-1))
	p.drawn = true
}

func (p *Progress) figures() string {
	if s := p.live(); s != "" {
		return "  [" + s + "]"
	}
	return ""
}

// clip shortens a text to so many characters.
func clip(s string, most int) string {
	r := []rune(s)
	if len(r) <= most {
		return s
	}
	return string(r[:most-1]) + "…"
}

func round(d time.Duration) string {
	if d < time.Second {
		return d.Round(time.Millisecond).String()
	}
	return d.Round(100 * time.Millisecond).String()
}
