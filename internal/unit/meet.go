package unit

import (
	"math"

	"perdure/internal/estate"
)

// Newer reports whether a record at a revision is news to whoever knows another one: a higher incarnation first, because a
// recovered store may count its revisions anew, then a later revision (I10).
func Newer(rec Record, revision int64, known Record, knownRevision int64) bool {
	a, b := rec.Ownership.Incarnation, known.Ownership.Incarnation
	return a.After(b) || !b.After(a) && revision > knownRevision
}

// Meets notes that an incarnation is in force somewhere; it reports whether that is news. The file has to be on disk before
// anything is done about it: what is open below then closes, whatever the record at hand says. Another recovery of the same
// origin ends both: nothing with their counter is obeyed any more, until a person begins a higher one (I10).
func (s *Self) Meets(inc estate.Incarnation) bool {
	met := estate.Ownership{Incarnation: inc}
	switch {
	case inc.After(s.Seen.Incarnation):
		s.Seen = met
		return true
	case met.Conflicts(s.Seen) && s.Seen.Epoch < math.MaxUint64:
		s.Seen.Epoch = math.MaxUint64
		return true
	}
	return false
}
