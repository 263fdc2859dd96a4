package document

import (
	"strconv"
	"strings"
)

// columns divides a page's width among columns by the longest word and the longest line that each has, within bounds.
func columns(head []string, rows [][]string) []int {
	most := len(head)
	for _, row := range rows {
		most = max(most, len(row))
	}
	wants := make([]int, most)
	look := func(row []string) {
		for i, cell := range row {
			for line := range strings.SplitSeq(cell, "\n") {
				wants[i] = max(wants[i], min(wide(line), 40))
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
	total := 0
	for i := range wants {
		wants[i] = max(wants[i], 5)
		total += wants[i]
	}
	for i := range wants {
		wants[i] = wants[i] * pageWidth / total
	}
	return wants
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
