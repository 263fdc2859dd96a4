//go:build journal_next

package run

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
)

// A program built with this tag stands for the next version in the proofs of upgrades: what it appends in format 2 is packed, so that a program
// of the present version could not read it even if it tried. Nobody is given such a program.
const newest Format = 2

// mostUnpacked bounds what is unpacked, in bytes.
const mostUnpacked = 16 << 20

type packed struct {
	Format Format `json:"format"`
	Packed []byte `json:"packed"` // the list of entries, packed
}

func encodeNewer(f Format, entries []Entry) ([]byte, error) {
	data, err := json.Marshal(entries)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(data); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return json.Marshal(packed{Format: f, Packed: b.Bytes()})
}

func decodeNewer(data []byte) ([]Entry, error) {
	var p packed
	if err := Strictly(data, &p); err != nil {
		return nil, err
	}
	z, err := gzip.NewReader(bytes.NewReader(p.Packed))
	if err != nil {
		return nil, err
	}
	if data, err = io.ReadAll(io.LimitReader(z, mostUnpacked)); err != nil {
		return nil, err
	}
	return entriesOf(data)
}
