// Package hosts is a process's own static table of names and addresses, and the resolver that answers from it.
//
// A file has one line per address, "ADDRESS NAME [NAME …]", with # for comments. The table's resolver serves every
// Go client of the process once the program has put it in place of net.DefaultResolver; programs of other languages
// that the process starts do not see it and have to be given addresses, found with Lookup.
package hosts

import (
	"bufio"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"

	"perdure/internal/errs"
)

// Table maps names to addresses; it never changes. The nil table knows no name.
type Table struct {
	names map[string][]netip.Addr
}

// lineMost bounds the length of one line of a file.
const lineMost = 64 << 10

// Load reads a file.
func Load(path string) (*Table, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, errs.New(errs.Invalid, "cannot read the hosts file: %w", err)
	}
	defer f.Close()
	return Parse(path, f)
}

// Parse reads a file's text; name is used in errors.
func Parse(name string, r io.Reader) (*Table, error) {
	t := &Table{names: make(map[string][]netip.Addr)}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, lineMost)
	n := 0
	for lines.Scan() {
		n++
		text, _, _ := strings.Cut(lines.Text(), "#")
		words := strings.Fields(text)
		if len(words) == 0 {
			continue
		}
		addr, err := netip.ParseAddr(words[0])
		if err != nil {
			return nil, errs.New(errs.Invalid, "%s:%d: %q is not an address; a line is ADDRESS NAME [NAME …]", name, n, words[0])
		}
		if len(words) == 1 {
			return nil, errs.New(errs.Invalid, "%s:%d: address %s has no name; a line is ADDRESS NAME [NAME …]", name, n, addr)
		}
		for _, word := range words[1:] {
			key, ok := canonical(word)
			if !ok {
				return nil, errs.New(errs.Invalid, "%s:%d: %q is not a host name", name, n, word)
			}
			if !slices.Contains(t.names[key], addr) {
				t.names[key] = append(t.names[key], addr)
			}
		}
	}
	if err := lines.Err(); err != nil {
		return nil, errs.New(errs.Invalid, "%s:%d: cannot read the line: %w", name, n+1, err)
	}
	return t, nil
}

// Lookup gives the addresses of the name in the order of the file, or false where the table does not have it.
// Case and a dot at the end make no difference. An address is its own name.
func (t *Table) Lookup(name string) ([]netip.Addr, bool) {
	if addr, err := netip.ParseAddr(name); err == nil {
		return []netip.Addr{addr}, true
	}
	if t == nil {
		return nil, false
	}
	key, ok := canonical(name)
	if !ok {
		return nil, false
	}
	addrs, ok := t.names[key]
	return slices.Clone(addrs), ok
}

// Names lists all names in order.
func (t *Table) Names() []string {
	if t == nil {
		return nil
	}
	names := make([]string, 0, len(t.names))
	for n := range t.names {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// canonical gives the form names are compared in; false for what cannot be a host name (RFC 1123, with underscores let pass).
func canonical(name string) (string, bool) {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if name == "" || len(name) > 253 {
		return "", false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return "", false
		}
		for _, c := range []byte(label) {
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return "", false
			}
		}
	}
	return name, true
}
