package evidence

import (
	"math/bits"

	"golang.org/x/mod/sumdb/tlog"
)

// Prove gives the hashes that stand for everything but the leaves, which are in ascending order, in a log of n leaves: with them and the
// leaves themselves the root can be made. The hashes of the log's tree are read from r.
func Prove(n int64, leaves []int64, r tlog.HashReader) ([]tlog.Hash, error) {
	var out []tlog.Hash
	var walk func(lo, hi int64, leaves []int64) error
	walk = func(lo, hi int64, leaves []int64) error {
		if len(leaves) == 0 {
			h, err := over(lo, hi, r)
			out = append(out, h)
			return err
		}
		if hi-lo == 1 {
			return nil
		}
		middle, i := split(lo, hi), 0
		for i < len(leaves) && leaves[i] < middle {
			i++
		}
		if err := walk(lo, middle, leaves[:i]); err != nil {
			return err
		}
		return walk(middle, hi, leaves[i:])
	}
	if n == 0 {
		return nil, nil
	}
	return out, walk(0, n, leaves)
}

// split is where a tree over the leaves from lo to hi is divided (RFC 6962, section 2.1): behind the largest power of two below their number.
func split(lo, hi int64) int64 { return lo + 1<<(bits.Len64(uint64(hi-lo-1))-1) }

// over is the hash over the leaves from lo to hi.
func over(lo, hi int64, r tlog.HashReader) (tlog.Hash, error) {
	if size := hi - lo; size&(size-1) == 0 { // a whole subtree: the log keeps its hash
		level := bits.TrailingZeros64(uint64(size))
		hashes, err := r.ReadHashes([]int64{tlog.StoredHashIndex(level, lo>>level)})
		if err != nil {
			return tlog.Hash{}, err
		}
		return hashes[0], nil
	}
	middle := split(lo, hi)
	left, err := over(lo, middle, r)
	if err != nil {
		return left, err
	}
	right, err := over(middle, hi, r)
	return tlog.NodeHash(left, right), err
}
