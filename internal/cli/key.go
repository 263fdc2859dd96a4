package cli

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"strings"

	"filippo.io/age"
	"filippo.io/age/armor"
	"github.com/spf13/cobra"

	"perdure/internal/ballot"
	"perdure/internal/errs"
	"perdure/internal/person"
	"perdure/internal/wire"
)

// The files of a key: the private part is sealed with a passphrase, the public one is a line that anybody may read.
const (
	keyMark      = "perdure-secret-key-1"
	publicSuffix = ".pub"
	mostKeyFile  = 64 << 10 // bytes
	// keyWork is what a try of a passphrase costs: 2^18 of scrypt, about a second and 256 MiB.
	keyWork = 18
)

func (s *session) keyCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "key", Short: "Your keys for decisions that you sign where you cannot log in", Args: cobra.ArbitraryArgs, RunE: parent,
		Long: `With a key you decide on an approval where you cannot log in: you are sent a challenge, sign it offline ("perdure approval sign"), and anybody
who may steer the run hands in what you send back. Make a key and add it before it is needed.`,
	}
	c.AddCommand(s.keyNewCommand(), s.keyAddCommand(), s.keyListCommand(), s.keyRevokeCommand())
	return c
}

func (s *session) keyNewCommand() *cobra.Command {
	var out, user string
	c := &cobra.Command{
		Use: "new --out FILE [--user NAME]", Short: "Make a key: FILE, sealed with a passphrase, and FILE.pub, which is added; needs no server", Args: exactly(),
		Example: `  perdure user key new --user ann --out ann.key
  perdure user key add ann.key.pub --title "laptop"`,
		RunE: func(*cobra.Command, []string) error {
			if out == "" {
				return usagef("--out FILE is missing")
			}
			var err error
			if user == "" {
				if user, err = s.line(askUser, false); err != nil {
					return err
				}
			}
			if user = strings.TrimSpace(user); len(strings.Fields(user)) != 1 {
				return usagef("%q is not the name of a user", user)
			}
			passphrase, err := s.newPassphrase(user)
			if err != nil {
				return err
			}
			_, private, err := ed25519.GenerateKey(rand.Reader)
			if err != nil {
				return errs.New(errs.Internal, "cannot make a key: %w", err)
			}
			sealed, err := sealKey(user, private, passphrase)
			if err != nil {
				return err
			}
			public := ballot.Prove(user, private)
			if err := writeKey(out, sealed, public); err != nil {
				return err
			}
			id := ballot.IDOf(public.Key).String()
			if s.json {
				return s.emit(map[string]string{"id": id, "key": public.String(), "file": out, "public": out + publicSuffix})
			}
			fmt.Fprintln(s.Out, s.say(keyMade, id, user, out, out+publicSuffix))
			return nil
		},
	}
	c.Flags().StringVar(&out, "out", "", "file to write, mode 0600; the public part goes to FILE.pub")
	c.Flags().StringVar(&user, "user", "", "whose key it is (default: asked for)")
	return c
}

// writeKey writes both files of a key, or none.
func writeKey(out string, sealed []byte, public ballot.PublicKey) error {
	if _, err := writeNew(out, func(w io.Writer) (int64, error) {
		n, err := w.Write(sealed)
		return int64(n), err
	}); err != nil {
		return err
	}
	_, err := writeNew(out+publicSuffix, func(w io.Writer) (int64, error) {
		n, err := fmt.Fprintln(w, public)
		return int64(n), err
	})
	if err != nil {
		_ = os.Remove(out)
	}
	return err
}

// newPassphrase asks for one as strong as a password; a person types it twice.
func (s *session) newPassphrase(user string) (string, error) {
	first, err := s.line(askNewPassphrase, true)
	if err != nil {
		return "", err
	}
	if err := person.CheckPassword(user, first); err != nil {
		return "", err
	}
	if !s.Ask {
		return first, nil
	}
	again, err := s.line(askPassphraseAgain, true)
	if err == nil && again != first {
		err = usagef("%s", s.say(notTheSame))
	}
	return first, err
}

// sealKey closes a private key with a passphrase (age, scrypt).
func sealKey(user string, key ed25519.PrivateKey, passphrase string) ([]byte, error) {
	r, err := age.NewScryptRecipient(passphrase)
	if err != nil {
		return nil, errs.New(errs.Invalid, "cannot seal the key: %w", err)
	}
	r.SetWorkFactor(keyWork)
	var out bytes.Buffer
	text := armor.NewWriter(&out)
	w, err := age.Encrypt(text, r)
	if err == nil {
		_, err = fmt.Fprintf(w, "%s %s %s\n", keyMark, user, base64.RawStdEncoding.EncodeToString(key.Seed()))
	}
	if err == nil {
		err = w.Close()
	}
	if err == nil {
		err = text.Close()
	}
	if err != nil {
		return nil, errs.New(errs.Internal, "cannot seal the key: %w", err)
	}
	return append(out.Bytes(), '\n'), nil
}

// openKey reads a private key, and whose it is.
func openKey(path, passphrase string) (user string, key ed25519.PrivateKey, err error) {
	wrong := func(err error) error {
		return errs.New(errs.Invalid, "cannot open the key %s: the passphrase is wrong, or the file is no key that perdure user key new made: %w", path, err)
	}
	file, err := os.Open(path)
	if err != nil {
		return "", nil, errs.New(errs.NotFound, "cannot read the key: %w", err)
	}
	defer file.Close()
	id, err := age.NewScryptIdentity(passphrase)
	if err != nil {
		return "", nil, wrong(err)
	}
	id.SetMaxWorkFactor(keyWork) // a file of another cost is not ours, and could take the memory of the machine
	plain, err := age.Decrypt(armor.NewReader(io.LimitReader(file, mostKeyFile)), id)
	if err != nil {
		return "", nil, wrong(err)
	}
	text, err := io.ReadAll(plain)
	if err != nil {
		return "", nil, wrong(err)
	}
	words := strings.Fields(string(text))
	if len(words) != 3 || words[0] != keyMark {
		return "", nil, wrong(errs.New(errs.Invalid, "something else was sealed"))
	}
	seed, err := base64.RawStdEncoding.DecodeString(words[2])
	if err != nil || len(seed) != ed25519.SeedSize {
		return "", nil, wrong(errs.New(errs.Invalid, "it has no seed of %d bytes", ed25519.SeedSize))
	}
	return words[1], ed25519.NewKeyFromSeed(seed), nil
}

func (s *session) keyAddCommand() *cobra.Command {
	var title string
	c := &cobra.Command{
		Use: "add FILE.pub [--title TEXT]", Short: "Add your key from its public part, logged in, with your second factor where you have one", Args: exactly("FILE.pub"),
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := os.ReadFile(args[0])
			if err != nil {
				return errs.New(errs.NotFound, "cannot read the key: %w", err)
			}
			if bytes.HasPrefix(text, []byte(armor.Header)) {
				return usagef("%s is the private part and stays with you; give %s%s", args[0], args[0], publicSuffix)
			}
			c, err := s.estate()
			if err != nil {
				return err
			}
			k, err := c.AddKey(cmd.Context(), wire.NewSigningKey{Key: strings.TrimSpace(string(text)), Title: title})
			if err != nil {
				return err
			}
			if s.json {
				return s.emit(k)
			}
			fmt.Fprintln(s.Out, s.say(keyAdded, k.ID))
			if k.Factor == 0 {
				fmt.Fprintln(s.Out, s.say(keyWeak))
			}
			return nil
		},
	}
	c.Flags().StringVar(&title, "title", "", "what you know it by, such as the machine that it is on")
	return c
}

func (s *session) keyListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list [NAME]", Short: "List your keys, or those of NAME (admin), revoked ones too", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.estate()
			if err != nil {
				return err
			}
			var keys []wire.SigningKey
			if len(args) == 0 {
				keys, err = c.Keys(cmd.Context())
			} else {
				keys, err = keysOf(c.Users(cmd.Context()))(args[0])
			}
			if err != nil {
				return err
			}
			if s.json {
				return s.emit(append([]wire.SigningKey{}, keys...))
			}
			g := &grid{}
			g.row(s.say(colID), s.say(colTitle), s.say(colCreated), s.say(colFactor), s.say(colState))
			for _, k := range keys {
				state, c := s.say(tokenValid), green
				if k.Revoked != 0 {
					state, c = s.say(keyGone, at(k.Revoked), k.RevokedBy), faint
				}
				g.cells(cell{text: k.ID}, cell{text: dash(k.Title)}, cell{text: at(k.Added)}, cell{text: s.factorWord(k.Factor)}, cell{state, c})
			}
			g.write(s, s.Out, "")
			return nil
		},
	}
}

// keysOf finds the keys of a user.
func keysOf(users []wire.User, err error) func(name string) ([]wire.SigningKey, error) {
	return func(name string) ([]wire.SigningKey, error) {
		if err != nil {
			return nil, err
		}
		for _, u := range users {
			if u.Name == name {
				return u.Keys, nil
			}
		}
		return nil, errs.New(errs.NotFound, "there is no user %q; perdure user list shows them", name)
	}
}

func (s *session) keyRevokeCommand() *cobra.Command {
	var user string
	c := &cobra.Command{
		Use: "revoke ID [--user NAME]", Short: "End a key for good: your own, or that of NAME (admin); what was decided with it stays", Args: exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.estate()
			if err != nil {
				return err
			}
			k, err := c.RevokeKey(cmd.Context(), user, args[0])
			if err != nil {
				return err
			}
			if s.json {
				return s.emit(k)
			}
			fmt.Fprintln(s.Out, s.say(keyRevoked, k.ID))
			return nil
		},
	}
	c.Flags().StringVar(&user, "user", "", "whose key it is (default: your own)")
	return c
}
