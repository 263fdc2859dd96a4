package postgres

import (
	"context"
	"fmt"
	"strconv"

	"perdure/internal/errs"
	"perdure/internal/estate"
)

// segments is the size in bytes of the files that the log is kept in.
type segments uint64

func (d *Database) segments(ctx context.Context) (segments, error) {
	values, err := d.controlData(ctx, d.o.DataDir)
	if err != nil {
		return 0, err
	}
	size, err := strconv.ParseUint(values["Bytes per WAL segment"], 10, 32)
	if err != nil || size == 0 {
		return 0, errs.New(errs.Internal, "segment size of %s: %q", d.o.Member, values["Bytes per WAL segment"])
	}
	return segments(size), nil
}

// of gives the number of the segment that holds the position.
func (s segments) of(at estate.LSN) uint64 { return uint64(at) / uint64(s) }

// perID is how many segments share the middle part of their names.
func (s segments) perID() uint64 { return 1 << 32 / uint64(s) }

func (s segments) name(timeline uint32, number uint64) string {
	return fmt.Sprintf("%s%08X%08X", timelineName(timeline), number/s.perID(), number%s.perID())
}

// number reads the number out of the name of a file; ok is false where it is no segment.
func (s segments) number(name string) (number uint64, ok bool) {
	if len(name) != 24 {
		return 0, false
	}
	hi, err1 := strconv.ParseUint(name[8:16], 16, 32)
	lo, err2 := strconv.ParseUint(name[16:], 16, 32)
	return hi*s.perID() + lo, err1 == nil && err2 == nil
}

func timelineName(timeline uint32) string { return fmt.Sprintf("%08X", timeline) }
