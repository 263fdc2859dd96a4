package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// colour is a terminal colour.
type colour string

const (
	plain  colour = ""
	red    colour = "\x1b[31;1m"
	yellow colour = "\x1b[33m"
	green  colour = "\x1b[32m"
	bold   colour = "\x1b[1m"
	faint  colour = "\x1b[2m"
)

// paint colours text on a terminal that has colour; elsewhere text stays as it is.
func (s *session) paint(c colour, text string) string {
	if c == plain || !s.Tty || s.Getenv("NO_COLOR") != "" || s.Getenv("TERM") == "dumb" {
		return text
	}
	return string(c) + text + "\x1b[0m"
}

// grid is a table whose columns line up, Chinese text and colour included.
type grid struct {
	rows [][]cell
}

type cell struct {
	text   string
	colour colour
}

func (g *grid) row(texts ...string) {
	row := make([]cell, len(texts))
	for i, t := range texts {
		row[i] = cell{text: t}
	}
	g.rows = append(g.rows, row)
}

func (g *grid) cells(cells ...cell) { g.rows = append(g.rows, cells) }

// omit leaves a column out.
func (g *grid) omit(column int) {
	for i := range g.rows {
		g.rows[i] = slices.Delete(g.rows[i], column, column+1)
	}
}

// write writes the rows, each indented; the last column is not filled up.
func (g *grid) write(s *session, w io.Writer, indent string) {
	var widths []int
	for _, row := range g.rows {
		for i, c := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], width(c.text))
		}
	}
	for _, row := range g.rows {
		var b strings.Builder
		for i, c := range row {
			b.WriteString(s.paint(c.colour, c.text))
			if i < len(row)-1 {
				b.WriteString(strings.Repeat(" ", widths[i]-width(c.text)+2))
			}
		}
		fmt.Fprintln(w, indent+strings.TrimRight(b.String(), " "))
	}
}

// width is the number of terminal columns of a text: East Asian wide characters take two.
func width(text string) int {
	n := 0
	for _, r := range text {
		n++
		if r >= 0x1100 && (r <= 0x115f || r >= 0x2e80 && r <= 0xa4cf || r >= 0xac00 && r <= 0xd7a3 || r >= 0xf900 && r <= 0xfaff ||
			r >= 0xfe30 && r <= 0xfe4f || r >= 0xff00 && r <= 0xff60 || r >= 0xffe0 && r <= 0xffe6 || r >= 0x20000 && r <= 0x3fffd) {
			n++
		}
	}
	return n
}

// millis writes a span for people: "340 ms", "12.3 s", "4 min", "3 h".
func millis(ms int64) string {
	d := time.Duration(ms) * time.Millisecond
	switch {
	case d < 0:
		return "-"
	case d < time.Second:
		return fmt.Sprintf("%d ms", ms)
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
}

// at writes a wall-clock instant in local time.
func at(unixMillis int64) string {
	if unixMillis == 0 {
		return "-"
	}
	return time.UnixMilli(unixMillis).Format("2006-01-02 15:04:05")
}

// count writes a number with thousands apart; -1 is unknown and never 0.
func (s *session) count(n int64) string {
	if n < 0 {
		return s.say(unknownFigure)
	}
	digits := fmt.Sprint(n)
	var b strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	return b.String()
}

func dash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
