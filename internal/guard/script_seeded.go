//go:build seed1 || seed4 || seed5

package guard

import (
	"fmt"
	"strings"
)

// edit is one change of a script: all places of old become new.
type edit struct{ script, old, new string }

// script is the text of one script with the seeded bug in it. A text to be changed that is not there is an error: the bug would be none.
func script(name string) (string, error) {
	text, err := files.ReadFile("schema/" + name)
	if err != nil {
		return "", err
	}
	sql := string(text)
	for _, e := range edits() {
		if e.script != name {
			continue
		}
		if !strings.Contains(sql, e.old) {
			return "", fmt.Errorf("seeded bug: %s does not contain %q any more", name, e.old)
		}
		sql = strings.ReplaceAll(sql, e.old, e.new)
	}
	return sql, nil
}
