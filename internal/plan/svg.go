package plan

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// Sizes of a drawing in pixels.
const (
	boxWide, boxHigh = 244, 44
	gapWide, gapHigh = 28, 46
	marginSize       = 24
	labelMost        = 30 // columns of a line in a box: a wide character has two
)

// SVG draws the program as a picture that stands by itself: what may be done at the same time stands side by side, below what it waits for.
// The steps of the longest way are framed heavily. The same program gives the same bytes.
func (p *Program) SVG() string {
	level, rows := p.levels()
	widest := 1
	for _, row := range rows {
		widest = max(widest, len(row))
	}
	wide := 2*marginSize + widest*(boxWide+gapWide) - gapWide
	high := 2*marginSize + len(rows)*(boxHigh+gapHigh) - gapHigh
	type point struct{ x, y int }
	at := make([]point, len(p.Nodes))
	for y, row := range rows {
		left := (wide - len(row)*(boxWide+gapWide) + gapWide) / 2
		for x, i := range row {
			at[i] = point{left + x*(boxWide+gapWide), marginSize + y*(boxHigh+gapHigh)}
		}
	}
	_, longest := p.Longest()
	critical := map[string]bool{}
	for _, id := range longest {
		critical[id] = true
	}
	arrows := p.arrows()
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" font-family="system-ui, sans-serif" font-size="13" role="img">`+"\n", wide, high, wide, high)
	fmt.Fprintf(&b, "<title>%s</title>\n", xmlText(first(p.Title, p.Plan)))
	b.WriteString(`<defs><marker id="arrow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto"><path d="M0 0 8 4 0 8z" fill="#566"/></marker></defs>` + "\n")
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", wide, high)
	for i := range p.Nodes {
		for _, d := range arrows[i] {
			from, to := at[d.Node], at[i]
			x1, y1, x2, y2 := from.x+boxWide/2, from.y+boxHigh, to.x+boxWide/2, to.y
			dash := ""
			if d.Port != "" {
				dash = ` stroke-dasharray="5 4"`
			}
			bend := min(gapHigh/2+(level[i]-level[d.Node]-1)*gapHigh, 3*gapHigh)
			fmt.Fprintf(&b, `<path d="M%d %dC%d %d %d %d %d %d" fill="none" stroke="#566"%s marker-end="url(#arrow)"/>`+"\n", x1, y1, x1, y1+bend, x2, y2-bend, x2, y2, dash)
			if d.Port != "" {
				fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle" font-size="11" fill="#566">%s</text>`+"\n", (x1+x2)/2, (y1+y2)/2, xmlText(d.Port))
			}
		}
	}
	for i := range p.Nodes {
		n := &p.Nodes[i]
		kind := n.Step.Kind()
		frame := 1
		if critical[n.ID] {
			frame = 3
		}
		fmt.Fprintf(&b, `<g><title>%s</title><rect x="%d" y="%d" width="%d" height="%d" rx="%d" fill="%s" stroke="#334" stroke-width="%d"/>`,
			xmlText(n.ID+": "+string(kind)), at[i].x, at[i].y, boxWide, boxHigh, cornerOf(kind), fillOf(kind), frame)
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle">%s</text>`, at[i].x+boxWide/2, at[i].y+19, xmlText(shortLabel(first(n.Step.Title, n.Local))))
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle" font-size="11" fill="#566">%s</text></g>`+"\n", at[i].x+boxWide/2, at[i].y+35, xmlText(shortLabel(string(kind)+" "+n.ID)))
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// arrows are those to each node: from what it waits for, which of a subplan are its last steps, and at the beginning of a subplan from it.
func (p *Program) arrows() [][]Dep {
	followed := make([]bool, len(p.Nodes))
	within := make([][]int, len(p.Nodes)) // the steps of a subplan
	for i := range p.Nodes {
		for _, d := range p.Nodes[i].After {
			followed[d.Node] = true
		}
		if parent := p.Nodes[i].Parent; parent >= 0 {
			within[parent] = append(within[parent], i)
		}
	}
	var last func(i int) []int
	last = func(i int) []int {
		var out []int
		for _, j := range within[i] {
			if !followed[j] {
				out = append(out, last(j)...)
			}
		}
		if len(out) == 0 {
			return []int{i}
		}
		return out
	}
	out := make([][]Dep, len(p.Nodes))
	for i := range p.Nodes {
		n := &p.Nodes[i]
		if len(n.After) == 0 && n.Parent >= 0 {
			out[i] = []Dep{{Node: n.Parent}}
		}
		for _, d := range n.After {
			for _, from := range last(d.Node) {
				out[i] = append(out[i], Dep{Node: from, Port: d.Port})
			}
		}
	}
	return out
}

// levels puts every node one row below the lowest that it waits for; what waits for a subplan stands below all of its steps.
func (p *Program) levels() (level []int, rows [][]int) {
	level = make([]int, len(p.Nodes))
	end := make([]int, len(p.Nodes)) // of a subplan: the row of its lowest step
	for i := range p.Nodes {
		for _, d := range p.Nodes[i].After {
			level[i] = max(level[i], end[d.Node]+1)
		}
		if parent := p.Nodes[i].Parent; parent >= 0 {
			level[i] = max(level[i], level[parent]+1)
		}
		end[i] = level[i]
		for parent := p.Nodes[i].Parent; parent >= 0; parent = p.Nodes[parent].Parent {
			end[parent] = max(end[parent], level[i])
		}
		for len(rows) <= level[i] {
			rows = append(rows, nil)
		}
		rows[level[i]] = append(rows[level[i]], i)
	}
	return level, rows
}

func cornerOf(k StepKind) int {
	if slices.Contains([]StepKind{ManualStep, ApprovalStep}, k) {
		return 0
	}
	return 8
}

// fillOf tells by colour who does it: a driver, a person, nobody.
func fillOf(k StepKind) string {
	switch k {
	case ActStep:
		return "#cfe3ff"
	case CheckStep:
		return "#e6f0ff"
	case ManualStep:
		return "#fff0c2"
	case ApprovalStep:
		return "#ffdca8"
	case WaitStep, NotifyStep:
		return "#f2f2f2"
	case SubplanStep:
	}
	return "#e3f4e1"
}

// shortLabel is a text that fits into a box.
func shortLabel(text string) string {
	columns := 0
	for i, r := range text {
		columns++
		if unicode.In(r, unicode.Han, unicode.Hangul, unicode.Hiragana, unicode.Katakana) || r >= 0xff00 && r <= 0xff60 || r >= 0x3000 && r <= 0x303f {
			columns++
		}
		if columns > labelMost {
			return text[:i] + "…"
		}
	}
	return text
}

var xmlEntities = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;")

// xmlText is a text within XML: what XML cannot hold was kept out by the shape.
func xmlText(text string) string { return xmlEntities.Replace(text) }
