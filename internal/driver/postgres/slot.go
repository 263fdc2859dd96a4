//go:build !seed12

package postgres

import "perdure/internal/estate"

// holdsSlot reports whether a walsender of that name holds the slot of its member.
func holdsSlot(name, slot string) bool {
	life, err := estate.ParseLife(name)
	return err == nil && slot == SlotOf(life.Member)
}
