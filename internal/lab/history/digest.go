package history

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
)

// Digest names the content of an answer: the first 16 hex digits of SHA-256 over the body. A JSON body is written with sorted names
// and without blanks first, so that a result kept as jsonb has the digest of the answer it was sent as. An empty body has the digest "".
func Digest(body []byte) string {
	body = bytes.TrimSpace(body)
	if len(body) == 0 {
		return ""
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var v any
	if d.Decode(&v) == nil && !d.More() {
		if canonical, err := json.Marshal(v); err == nil {
			body = canonical
		}
	}
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:8])
}
