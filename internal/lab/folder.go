package lab

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"perdure/internal/errs"
)

// A lab empties its folder before it begins, so it takes only a folder that is new, empty, or one it has marked as its own: a
// mistyped --dir costs nobody his files.

const folderMark = ".perdure-lab"

// marks are files by which the folder of a lab is known: its mark, and what labs without one have left.
var marks = [...]string{folderMark, "lab.json", serveLog, "history-*.jsonl"}

// ours refuses a folder that holds files and is not a lab's.
func ours(dir string) error {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return errs.New(errs.Invalid, "cannot use %s as the lab's folder: %w", dir, errors.Unwrap(err))
	case len(entries) == 0:
		return nil
	}
	for _, mark := range marks {
		for _, e := range entries {
			if is, err := filepath.Match(mark, e.Name()); err == nil && is {
				return nil
			}
		}
	}
	return errs.New(errs.Refused, "%s holds files that are not a lab's (%s …), and a lab empties its folder: give --dir a folder that is new or empty", dir, entries[0].Name())
}

// claim makes the folder and marks it as a lab's.
func claim(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return errs.New(errs.Unavailable, "cannot make the lab's folder: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, folderMark), []byte("The folder of a lab (perdure lab): it is emptied when the next one begins.\n"), 0o644); err != nil {
		return errs.New(errs.Unavailable, "cannot write into the lab's folder: %w", err)
	}
	return nil
}
