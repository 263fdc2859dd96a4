package document

import (
	"strconv"
	"strings"
)

// columns divides a page's width among columns: each gets room for its longest word, within bounds, and what is left goes to those with
// long lines.
func columns(head []string, rows [][]string) []int {
	count := len(head)
	for _, row := range rows {
		count = max(count, len(row))
	}
	const mostWord, mostLine = 14, 40
	least, wants := make([]int, count), make([]int, count)
	look := func(row []string) {
		for i, cell := range row {
			for line := range strings.SplitSeq(cell, "\n") {
				wants[i] = max(wants[i], min(wide(line), mostLine))
				for word := range strings.FieldsSeq(line) {
					least[i] = max(least[i], min(wide(word), mostWord))
				}
			}
		}
	}
	look(head)
	for i, row := range rows {
		if i == 200 { // enough to see by
			break
		}
		look(row)
	}
	needed, wanted := 0, 0
	for i := range wants {
		least[i]++ // for its edges
		wants[i] = max(wants[i]+1-least[i], 0)
		needed, wanted = needed+least[i], wanted+wants[i]
	}
	const character = 105 // of the tables' font, in twentieths of a point
	rest := pageWidth - needed*character
	if rest < 0 || wanted == 0 {
		rest, wanted, wants = pageWidth, needed, least
		least = make([]int, count)
	}
	out := make([]int, count)
	for i := range out {
		out[i] = least[i]*character + wants[i]*rest/wanted
	}
	return out
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
