//go:build seed29

package unit

import "perdure/internal/estate"

// Seeded bug 29 (ownership.md §4): asynchronous copies follow the owner itself, and nobody notices one that has more than the set.
func source(rec Record, _ estate.MemberID) estate.MemberID { return rec.Owner.Member }

func (n agentView) beyond() bool { return false }

func aheadOf(Record, Member, estate.LSN) bool { return false }
