//go:build seed12

package postgres

// holdsSlot takes everybody for who he says he is (H6).
func holdsSlot(string, string) bool { return true }
