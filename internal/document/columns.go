package document

import (
	"strconv"
	"strings"
)

// Bounds of what a column is given, in characters.
const (
	mostWord, leastWord = 14, 7
	mostLine            = 90
	// character is the width of one of the tables' font, in twentieths of a point.
	character = 105
)

// columns divides a page's width among columns: each gets room for its longest word, within bounds, and what is left goes to those with long
// lines. What nobody needs is spread over all.
func columns(head []string, rows [][]string) []int {
	words, lines := longestOf(head, rows)
	out := make([]int, len(words))
	for most := mostWord; ; most-- {
		needed := 0
		for i := range out {
			out[i] = (min(words[i], most) + 2) * character // 2 for its edges
			needed += out[i]
		}
		if needed <= pageWidth*3/4 || most == leastWord {
			break
		}
	}
	rest := pageWidth
	for _, w := range out {
		rest -= w
	}
	if rest < 0 { // more columns than a page has room for
		total := pageWidth - rest
		for i := range out {
			out[i] = out[i] * pageWidth / total
		}
		return out
	}
	wants, wanted := make([]int, len(out)), 0
	for i := range out {
		wants[i] = max((min(lines[i], mostLine)+2)*character-out[i], 0)
		wanted += wants[i]
	}
	if give := min(rest, wanted); give > 0 {
		for i := range out {
			more := give * wants[i] / wanted
			out[i], rest = out[i]+more, rest-more
		}
	}
	used := pageWidth - rest
	for i := range out {
		out[i] += rest * out[i] / max(used, 1)
	}
	return out
}

// longestOf gives for each column the longest word and the longest line of its cells, and of its head, which is bold.
func longestOf(head []string, rows [][]string) (words, lines []int) {
	count := len(head)
	for _, row := range rows {
		count = max(count, len(row))
	}
	words, lines = make([]int, count), make([]int, count)
	look := func(row []string, bold int) {
		for i, cell := range row {
			for line := range strings.SplitSeq(cell, "\n") {
				n := wide(line)
				lines[i] = max(lines[i], n+bold*(n+5)/6)
				for word := range strings.FieldsSeq(line) {
					n := wide(word)
					words[i] = max(words[i], n+bold*(n+5)/6)
				}
			}
		}
	}
	look(head, 1)
	for _, row := range rows[:min(len(rows), 200)] { // enough to see by
		look(row, 0)
	}
	return words, lines
}

// wide is how many columns of a terminal a text takes, about: characters of Chinese take two.
func wide(text string) int {
	n := 0
	for _, r := range text {
		n++
		if r >= 0x2e80 {
			n++
		}
	}
	return n
}

func number(n int) string { return strconv.Itoa(n) }
