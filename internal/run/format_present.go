//go:build !journal_next

package run

import "perdure/internal/errs"

const newest Format = 1

// There is no format after the first one yet.
func encodeNewer(f Format, _ []Entry) ([]byte, error) {
	return nil, errs.New(errs.Internal, "journals of format %d cannot be written", f)
}

func decodeNewer([]byte) ([]Entry, error) {
	return nil, errs.New(errs.Internal, "journals of newer formats cannot be read")
}
