package store

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"perdure/internal/errs"
	"perdure/internal/wire"
)

// tokenPrefix starts every bearer token, so that leaked ones can be found by scanners.
const tokenPrefix = "perdure_"

// bootstrapID is the id of the first admin token.
const bootstrapID = "bootstrap"

// storedToken is a token as the store keeps it: never the secret, only its hash. The secret has 256 random bits,
// so a fast hash is enough.
type storedToken struct {
	wire.Token
	Hash string `json:"hash"` // hex SHA-256 of the whole token text
}

// CreateToken makes a token; its secret is in the answer and nowhere else.
func (s *Store) CreateToken(ctx context.Context, who string, ask wire.AskToken) (wire.NewToken, error) {
	roles := []wire.Role{ask.Role}
	if err := checkRoles(roles); err != nil {
		return wire.NewToken{}, err
	}
	if err := checkParticipant(ask.Name, roles, ask.Participant); err != nil {
		return wire.NewToken{}, err
	}
	if err := checkTenant(ask.Name, roles, ask.Tenant); err != nil {
		return wire.NewToken{}, err
	}
	if err := checkName("name", ask.Name); err != nil {
		return wire.NewToken{}, err
	}
	if ask.Expires != 0 && ask.Expires <= s.now() {
		return wire.NewToken{}, errs.New(errs.Invalid, "a token for %s that has expired already is of no use", ask.Name)
	}
	if err := s.mayHave(ctx, ask.Name, ask.Tenant); err != nil {
		return wire.NewToken{}, err
	}
	id := randomHex(6)
	secret := newSecret(id)
	t := storedToken{Token: wire.Token{ID: id, Name: ask.Name, Role: ask.Role, Participant: ask.Participant, Tenant: ask.Tenant, CreatedBy: who, Created: s.now(), Expires: ask.Expires}, Hash: hash(secret)}
	if err := s.writeToken(ctx, who, "token.create", t, 0); err != nil {
		return wire.NewToken{}, err
	}
	return wire.NewToken{Token: t.Token, Secret: secret}, nil
}

func (s *Store) writeToken(ctx context.Context, who, what string, t storedToken, revision int64) error {
	key := tokensPrefix + t.ID
	write, err := put(key, t)
	if err != nil {
		return err
	}
	event, err := s.event(revision, wire.Event{Who: who, What: what, Subject: t.ID}, t.Token)
	if err != nil {
		return err
	}
	_, ok, err := s.commit(ctx, "write token "+t.ID, []clientv3.Cmp{unchanged(key, revision)}, []clientv3.Op{write, event})
	if err != nil {
		return err
	}
	if !ok {
		return errs.New(errs.Conflict, "token %s changed meanwhile; list the tokens and decide again", t.ID)
	}
	return nil
}

// Tokens lists all tokens, without their hashes.
func (s *Store) Tokens(ctx context.Context, r wire.Read) ([]wire.Token, error) {
	return listOf[wire.Token](ctx, s, tokensPrefix, r)
}

// RevokeToken ends a token for good. It stays listed.
func (s *Store) RevokeToken(ctx context.Context, who, id string) error {
	if err := checkName("token", id); err != nil {
		return err
	}
	e, _, err := s.get(ctx, tokensPrefix+id, wire.Fresh)
	if err != nil {
		return err
	}
	if e.modified == 0 {
		return errs.New(errs.NotFound, "there is no token %q; `perdure token list` shows them", id)
	}
	t, err := decode[storedToken](e)
	if err != nil || t.Revoked != 0 {
		return err
	}
	t.Revoked, t.RevokedBy = s.now(), who
	return s.writeToken(ctx, who, "token.revoke", t, e.modified)
}

// Authenticate gives who the secret of a token or of a session belongs to. For a token it asks the local member only, so it works without a
// quorum; on a node that is cut off, a token revoked elsewhere still reads. For a session it asks the quorum, and the local member only where
// the store has none and the request is reading. Unknown, revoked and expired ones get the same answer.
func (s *Store) Authenticate(ctx context.Context, secret string, reading bool) (wire.Caller, error) {
	refused := errs.New(errs.Unauthorised, "the bearer token is unknown, revoked or expired; after a login: perdure login")
	id, _, ok := strings.Cut(strings.TrimPrefix(secret, tokenPrefix), "_")
	if !ok || !strings.HasPrefix(secret, tokenPrefix) || checkName("token", id) != nil {
		return wire.Caller{}, refused
	}
	if strings.HasPrefix(id, sessionMark) {
		return s.session(ctx, id, secret, reading, refused)
	}
	e, _, err := s.get(ctx, tokensPrefix+id, wire.Local)
	if err != nil {
		return wire.Caller{}, err
	}
	if e.modified == 0 {
		return wire.Caller{}, refused
	}
	t, err := decode[storedToken](e)
	if err != nil {
		return wire.Caller{}, err
	}
	if subtle.ConstantTimeCompare([]byte(t.Hash), []byte(hash(secret))) != 1 || !t.Good(s.now()) {
		return wire.Caller{}, refused
	}
	return wire.Caller{Name: t.Name, Roles: []wire.Role{t.Role}, Participant: t.Participant, Tenant: t.Tenant}, nil
}

// BootstrapToken makes the first admin token of a new estate and leaves it in the file, mode 0600. A file that holds a token
// already gives it to the estate, so that the same file may stand on every node. It does nothing where the estate has had its
// first token, even a revoked one. It reports whether this call made it.
func (s *Store) BootstrapToken(ctx context.Context, file string) (bool, error) {
	e, _, err := s.get(ctx, tokensPrefix+bootstrapID, wire.Fresh)
	if err != nil || e.modified != 0 {
		return false, err
	}
	secret, made, err := bootstrapSecret(file)
	if err != nil {
		return false, err
	}
	t := storedToken{Token: wire.Token{ID: bootstrapID, Name: "admin", Role: wire.Admin, CreatedBy: "node:" + s.o.Node, Created: s.now()}, Hash: hash(secret)}
	err = s.writeToken(ctx, t.CreatedBy, "token.bootstrap", t, 0)
	if errs.KindOf(err) != errs.Conflict {
		return err == nil, err
	}
	// Another node was faster, or an earlier try of this one whose answer was lost.
	if e, _, err = s.get(ctx, tokensPrefix+bootstrapID, wire.Fresh); err != nil {
		return false, err
	}
	first, err := decode[storedToken](e)
	if err != nil {
		return false, err
	}
	if first.Hash == t.Hash {
		return true, nil
	}
	if made {
		_ = os.Remove(file)
	}
	return false, nil
}

// bootstrapSecret reads the file's token or writes a new one into it; made says which. Nodes that share the file get one token.
func bootstrapSecret(file string) (secret string, made bool, err error) {
	secret, err = readBootstrap(file)
	if !errors.Is(err, fs.ErrNotExist) {
		return secret, false, err
	}
	secret = NewBootstrapSecret()
	if err = writeOnce(file, secret+"\n"); errors.Is(err, fs.ErrExist) {
		secret, err = readBootstrap(file)
		return secret, false, err
	}
	if err != nil {
		return "", false, errs.New(errs.Unavailable, "cannot write the first admin token: %w", err)
	}
	return secret, true, nil
}

func readBootstrap(file string) (string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", errs.New(errs.Unavailable, "cannot read the first admin token: %w", err)
	}
	secret := strings.TrimSpace(string(text))
	if !strings.HasPrefix(secret, tokenPrefix+bootstrapID+"_") || len(secret) < 50 {
		return "", errs.New(errs.Invalid, "%s does not hold a first admin token; remove the file to have one made", file)
	}
	return secret, nil
}

// writeOnce makes the file, mode 0600, whole or not at all, and never over one that is there.
func writeOnce(file, text string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	draft, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+"-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(draft.Name()) }()
	_, err = draft.WriteString(text)
	if err := errors.Join(err, draft.Close()); err != nil {
		return err
	}
	return os.Link(draft.Name(), file)
}

// NewBootstrapSecret makes a first admin token for a bootstrap file that is handed to every node.
func NewBootstrapSecret() string { return newSecret(bootstrapID) }

func newSecret(id string) string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // the system's source of randomness does not fail
	return tokenPrefix + id + "_" + base64.RawURLEncoding.EncodeToString(b)
}

func hash(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}
