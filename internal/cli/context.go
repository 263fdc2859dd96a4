package cli

import (
	"bytes"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"perdure/internal/errs"
)

// labContext is what a lab leaves for its operator, below the directory it was started in.
const labContext = ".lab/operator.yaml"

// sessionSuffix makes the name of the file of a session out of that of a context.
const sessionSuffix = ".session"

// estateContext says how to reach an estate and as whom. Paths in its file are relative to the file.
type estateContext struct {
	// Endpoints are base URLs of nodes, https://host:port; the next one is asked when one does not answer.
	Endpoints []string `yaml:"endpoints"`
	// CA is the file of the authority that signed the nodes' certificates.
	CA string `yaml:"ca,omitempty"`
	// Token is the file of a person's bearer token; never the token itself.
	Token string `yaml:"token,omitempty"`
	// Hosts is a file of lines "address name", asked before any other resolver.
	Hosts string `yaml:"hosts,omitempty"`

	// session is the file that a login leaves its secret in, beside the file of the context; "" without such a file.
	session string
	// secret is the token itself where the environment gives it.
	secret  string
	timeout time.Duration
}

// contextFlags are the global flags that say which estate is meant. Flags win over the environment, the environment over the file.
type contextFlags struct {
	file      string
	endpoints []string
	ca        string
	token     string
	hosts     string
	timeout   time.Duration
}

func (f *contextFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.file, "context", "", "file that says how to reach the estate (PERDURE_CONTEXT; default "+labContext+" where it is)")
	flags.StringSliceVar(&f.endpoints, "endpoint", nil, "base URL of a node, may be repeated (PERDURE_ENDPOINTS)")
	flags.StringVar(&f.ca, "ca", "", "file of the authority that signed the nodes' certificates (PERDURE_CA)")
	flags.StringVar(&f.token, "token-file", "", "file of your bearer token (PERDURE_TOKEN_FILE, or the token in PERDURE_TOKEN)")
	flags.StringVar(&f.hosts, "hosts", "", "file of lines \"address name\", asked before any other resolver (PERDURE_HOSTS)")
	flags.DurationVar(&f.timeout, "timeout", 10*time.Second, "time for one answer of the estate")
}

// resolve puts flags, environment and file together.
func (f *contextFlags) resolve(getenv func(string) string) (estateContext, error) {
	c, err := f.fromFile(getenv)
	if err != nil {
		return c, err
	}
	over := func(to *string, flag, env string) {
		if flag != "" {
			*to = flag
		} else if v := getenv(env); v != "" {
			*to = v
		}
	}
	if _, err := os.Stat(c.session); c.session != "" && err == nil {
		c.Token = c.session // who logged in acts as that person, until they log out
	}
	over(&c.CA, f.ca, "PERDURE_CA")
	over(&c.Token, f.token, "PERDURE_TOKEN_FILE")
	over(&c.Hosts, f.hosts, "PERDURE_HOSTS")
	if f.token == "" {
		c.secret = getenv("PERDURE_TOKEN")
	}
	if len(f.endpoints) > 0 {
		c.Endpoints = f.endpoints
	} else if v := getenv("PERDURE_ENDPOINTS"); v != "" {
		c.Endpoints = strings.Split(v, ",")
	}
	c.timeout = f.timeout
	if len(c.Endpoints) == 0 {
		return c, usagef("no node is known: give --endpoint https://HOST:7400, or --context FILE, or start a lab here")
	}
	for _, e := range c.Endpoints {
		u, err := url.Parse(e)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil {
			return c, usagef("endpoint %q is not a base URL such as https://node.a.perdure.internal:7400", e)
		}
	}
	return c, nil
}

func (f *contextFlags) fromFile(getenv func(string) string) (estateContext, error) {
	var c estateContext
	file, meant := f.file, true
	if file == "" {
		file = getenv("PERDURE_CONTEXT")
	}
	if file == "" {
		file, meant = labContext, false
	}
	text, err := os.ReadFile(file)
	if !meant && errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return c, errs.New(errs.Invalid, "cannot read the context: %w", err)
	}
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(&c); err != nil {
		return c, errs.New(errs.Invalid, "context %s: %w; allowed fields: endpoints, ca, token, hosts", file, err)
	}
	c.session = file + sessionSuffix
	for _, path := range []*string{&c.CA, &c.Token, &c.Hosts} {
		if *path != "" && !filepath.IsAbs(*path) {
			*path = filepath.Join(filepath.Dir(file), *path)
		}
	}
	return c, nil
}

// bearer gives the token, "" where none is configured.
func (c estateContext) bearer() (string, error) {
	if c.secret != "" {
		if !oneWord(c.secret) {
			return "", errs.New(errs.Unauthorised, "PERDURE_TOKEN holds no token: a token is one line of letters, digits and signs")
		}
		return c.secret, nil
	}
	if c.Token == "" {
		return "", nil
	}
	text, err := os.ReadFile(c.Token)
	if err != nil {
		return "", errs.New(errs.Unauthorised, "cannot read your token: %w", err)
	}
	token := strings.TrimSpace(string(text))
	switch {
	case token == "":
		return "", errs.New(errs.Unauthorised, "%s is empty: it holds no token", c.Token)
	case !oneWord(token):
		return "", errs.New(errs.Unauthorised, "%s holds no token: a token is one line of letters, digits and signs", c.Token)
	}
	return token, nil
}

// oneWord reports whether a text is printable ASCII without spaces, and not endless.
func oneWord(s string) bool {
	return len(s) <= 4096 && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}
