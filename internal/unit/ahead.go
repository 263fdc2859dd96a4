//go:build !seed29

package unit

import "perdure/internal/estate"

// source is whom an asynchronous member follows: a living member of the set, so that it never has more than that (I12), or the owner.
func source(rec Record, id estate.MemberID) estate.MemberID {
	for _, m := range rec.Members {
		if m.ID != id && m.Role == SyncRole && rec.InSyncLife(estate.Life{Member: m.ID, N: m.Life}) {
			return m.ID
		}
	}
	return rec.Owner.Member
}

// beyond reports whether the member was found to have log beyond where its history and the owner's part.
func (n agentView) beyond() bool { return n.view.Beyond }

// aheadOf reports whether a follower has flushed more than a successor had when it was severed: then it can never follow it (I12).
// Where it is not known whose history the directory is of, every successor counts: a rewind that finds nothing does no harm.
func aheadOf(rec Record, m Member, flushed estate.LSN) bool {
	for _, p := range rec.Past {
		if p.Severed > 0 && !p.Ownership.Less(m.Following) && flushed > p.Severed {
			return true
		}
	}
	return false
}
