//go:build !seed15

package estate

// After reports whether i is the higher incarnation. Two recoveries of one origin have one counter: neither is, see Ownership.Conflicts.
func (i Incarnation) After(other Incarnation) bool { return i.Counter > other.Counter }
