package route

import (
	"hash/crc32"

	"perdure/internal/estate"
)

// Lookup gives the slot of a routing key and the index of its unit in s.Units. It allocates nothing.
func (s *SystemTable) Lookup(key []byte) (estate.Slot, int) {
	h := crc32.ChecksumIEEE(key)
	var slot uint32
	if s.mask != 0 {
		slot = h & s.mask
	} else {
		slot = h % s.slots
	}
	u := s.unitOf[slot]
	if u < 0 {
		var listed bool
		if u, listed = s.overrides[string(key)]; !listed {
			u = ^s.unitOf[slot]
		}
	}
	return estate.Slot(slot), int(u)
}

// Match gives the index of the system that a request's host and raw path belong to, -1 where there is none.
func (t *Table) Match(host, path []byte) int {
	if len(t.match) == 1 && t.match[0].host == "" && t.match[0].prefix == "/" {
		return t.match[0].system
	}
	if i := lastColon(host); i >= 0 {
		host = host[:i]
	}
	for i := range t.match {
		m := &t.match[i]
		if m.host != "" && !equalFold(host, m.host) {
			continue
		}
		if hasPrefix(path, m.prefix) {
			return m.system
		}
	}
	return -1
}

// hasPrefix matches whole path segments: "/core" is a prefix of "/core" and "/core/x", not of "/corebank".
func hasPrefix(path []byte, prefix string) bool {
	if len(path) < len(prefix) || string(path[:len(prefix)]) != prefix {
		return false
	}
	return len(path) == len(prefix) || prefix[len(prefix)-1] == '/' || path[len(prefix)] == '/'
}

// lastColon finds the colon before a port, -1 where the host has none.
func lastColon(host []byte) int {
	for i := len(host) - 1; i >= 0; i-- {
		switch host[i] {
		case ':':
			return i
		case ']':
			return -1
		}
	}
	return -1
}

// equalFold compares a host with a lower-case name, ASCII letters without case.
func equalFold(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// Reads reports whether the request only reads: by its method, or because its path is listed as a read.
func (s *SystemTable) Reads(method, path []byte) bool {
	switch string(method) {
	case "GET", "HEAD", "OPTIONS":
		return true
	}
	for i := range s.reads {
		if s.reads[i].matches(path) {
			return true
		}
	}
	return false
}
