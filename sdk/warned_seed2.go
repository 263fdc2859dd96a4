//go:build seed2

package sdk

// Seeded bug 2 (ownership.md §4): a COMMIT whose wait was cancelled counts as a success.
func (s *session) cutShort() bool { return false }
