package sdk

import (
	"slices"
	"testing"

	"github.com/jackc/pgx/v5/pgtype"
)

// Whatever the library writes is read as it was, and nothing that a server could send makes the reader fail in another way than by an error.
func FuzzTexts(f *testing.F) {
	types := pgtype.NewMap()
	for _, list := range [][]string{nil, {}, {"acc-1"}, {"", "acc-2", "账户"}} {
		b, err := types.Encode(pgtype.TextArrayOID, pgtype.BinaryFormatCode, list, nil)
		if err != nil {
			f.Fatal(err)
		}
		got, err := texts(b)
		if err != nil || !slices.Equal(got, list) || (got == nil) != (list == nil) {
			f.Errorf("%q was read as %q, %v", list, got, err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := texts(b)
		if err != nil {
			return
		}
		var wanted []string
		if types.Scan(pgtype.TextArrayOID, pgtype.BinaryFormatCode, b, &wanted) == nil && !slices.Equal(got, wanted) {
			t.Errorf("%x: %q, the library reads %q", b, got, wanted)
		}
	})
}
