package sdk

import (
	"encoding/binary"
	"errors"
	"net/http"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// scanAnswer reads a row of one perdure.answer as record_send writes it. That is one value: "from" a function would cost the database
// as much as another call of claim. ok is false where the function gave null.
func scanAnswer(row pgx.Row) (a Answer, ok bool, err error) {
	r := answerReader{into: &a}
	if err = row.Scan(&r); err == nil {
		err = r.err
	}
	return a, r.ok && err == nil, err
}

// answerReader reads from the connection's own buffer.
type answerReader struct {
	into *Answer
	ok   bool
	err  error // what cannot be read; an error of ScanRow would be one of all that is sent in one go
}

var errNoAnswer = errors.New("the function did not return a perdure.answer")

// ScanRow never fails, see err.
func (r *answerReader) ScanRow(rows pgx.Rows) error {
	if r.err = r.read(rows); r.err != nil {
		r.err = errNoAnswer
	}
	return nil
}

// read takes the fields in their order: outcome, status, content_type, result, ownership, seq, accounts, amount.
func (r *answerReader) read(rows pgx.Rows) error {
	values := rows.RawValues()
	if len(values) != 1 {
		return errNoAnswer
	}
	if values[0] == nil {
		return nil
	}
	fields := pgtype.NewCompositeBinaryScanner(rows.Conn().TypeMap(), values[0])
	if fields.FieldCount() != 8 {
		return errNoAnswer
	}
	next := func() []byte {
		fields.Next()
		return fields.Bytes()
	}
	a := r.into
	outcome, status, contentType, result, ownership, seq := next(), next(), next(), next(), next(), next()
	if outcome == nil || contentType == nil || ownership == nil || len(status) != 4 || len(seq) != 8 {
		return fields.Err() // a row of nulls is what once says to a new key
	}
	a.Outcome, a.Status, a.ContentType = Outcome(outcome), int(int32(binary.BigEndian.Uint32(status))), string(contentType)
	a.Body, a.Ownership, a.Seq = append([]byte{}, result...), string(ownership), int64(binary.BigEndian.Uint64(seq))
	var err error
	if a.Accounts, err = texts(next()); err != nil {
		return err
	}
	a.Amount = string(next())
	if a.Outcome == Committed && a.Status >= http.StatusBadRequest {
		a.Outcome = Refused
	}
	r.ok = fields.Err() == nil
	return fields.Err()
}

// texts reads an array of texts in the binary format; nil gives nil. The library's way is made for any array, and takes as long as
// everything else here.
func texts(src []byte) ([]string, error) {
	if src == nil {
		return nil, nil
	}
	const header, dimension = 12, 8 // dimensions, whether there are nulls, type; then length and lower bound of each dimension
	if len(src) < header {
		return nil, errNoAnswer
	}
	if binary.BigEndian.Uint32(src) == 0 {
		return []string{}, nil
	}
	if binary.BigEndian.Uint32(src) != 1 || len(src) < header+dimension {
		return nil, errNoAnswer
	}
	n := int(binary.BigEndian.Uint32(src[header:]))
	src = src[header+dimension:]
	if n > len(src)/4 {
		return nil, errNoAnswer
	}
	list := make([]string, 0, n)
	for range n {
		if len(src) < 4 {
			return nil, errNoAnswer
		}
		size := int(int32(binary.BigEndian.Uint32(src)))
		if src = src[4:]; size < 0 || size > len(src) {
			return nil, errNoAnswer
		}
		list, src = append(list, string(src[:size])), src[size:]
	}
	return list, nil
}
