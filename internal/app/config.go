// Package app assembles the product's processes from their parts: a node, an agent, a gateway.
// Wiring stands here in reading order; nothing is decided here.
package app

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"perdure/internal/errs"
)

// TLS names the files of a process's identity. The certificate's common name says who it is: "node:a", "agent:u1-a", "gateway:a".
type TLS struct {
	CA   string `yaml:"ca"`
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
}

// Peer is a node or a gateway as others reach it.
type Peer struct {
	Name string `yaml:"name"`
	Site string `yaml:"site"`
	// URL is the API of a node, or the administration port of a gateway: https://host:port.
	URL string `yaml:"url"`
}

// Common is what every process has.
type Common struct {
	Name string `yaml:"name"`
	Site string `yaml:"site"`
	// DataDir belongs to this process alone.
	DataDir string `yaml:"dataDir"`
	// Hosts is a file of lines "address name", asked before any other resolver; empty for none.
	Hosts string `yaml:"hosts,omitempty"`
	TLS   TLS    `yaml:"tls"`
	// Nodes are all nodes of the estate, the nearest first.
	Nodes []Peer `yaml:"nodes"`
	// LogLevel is debug, info, warn or error; info where empty.
	LogLevel string `yaml:"logLevel,omitempty"`
}

// NodeConfig is the configuration of a control-plane node.
type NodeConfig struct {
	Common `yaml:",inline"`
	// Listen is the address of the API, host:port.
	Listen string `yaml:"listen"`
	Store  Store  `yaml:"store"`
	// Gateways are the administration ports that keep receipts, the nearest first.
	Gateways []Peer `yaml:"gateways,omitempty"`
	// AdminToken is the file, mode 0600, into which the first node of a new estate writes its first admin token.
	AdminToken string `yaml:"adminToken,omitempty"`
	// OIDC is the provider by which people sign on; nil: they log in as local users only.
	OIDC *OIDC `yaml:"oidc,omitempty"`
}

// OIDC is a provider of OpenID Connect, the same in every node's file.
type OIDC struct {
	Issuer   string `yaml:"issuer"`
	ClientID string `yaml:"clientID"`
	// ClientSecret is env:NAME or file:PATH, never the secret itself; empty: a public client.
	ClientSecret string   `yaml:"clientSecret,omitempty"`
	Scopes       []string `yaml:"scopes,omitempty"`
	// Audience has to be among those of a token; ClientID where empty.
	Audience string `yaml:"audience,omitempty"`
	// NameClaim and GroupsClaim are preferred_username and groups where empty.
	NameClaim   string `yaml:"nameClaim,omitempty"`
	GroupsClaim string `yaml:"groupsClaim,omitempty"`
	// Roles are those that groups of the provider give.
	Roles map[string][]string `yaml:"roles"`
	// Tenants are the institutions whose people are in a group, "" for the platform's own. Where any is given, a person has to be in a group of one of them.
	Tenants map[string]string `yaml:"tenants,omitempty"`
	// FactorMethods (amr) and FactorClasses (acr) say that a second factor was shown; without any, no token says so.
	FactorMethods []string `yaml:"factorMethods,omitempty"`
	FactorClasses []string `yaml:"factorClasses,omitempty"`
	// Skew is how far the provider's clock may differ; 1 min where zero.
	Skew time.Duration `yaml:"skew,omitempty"`
	// CA is the authority of the provider's certificate; those that the machine trusts where empty.
	CA string `yaml:"ca,omitempty"`
}

// Store is the control store of a node: its own member, or an etcd that runs elsewhere.
type Store struct {
	// External are endpoints of an etcd that runs elsewhere; then of the rest only the next three are read.
	External []string `yaml:"external,omitempty"`
	// ExternalTLS are the files for the external etcd, where its certificates are of another authority; the node's own where empty.
	ExternalTLS TLS `yaml:"externalTLS,omitempty"`
	// ExternalUser and ExternalPassword, a file of mode 0600, are for an external etcd with authentication.
	ExternalUser     string `yaml:"externalUser,omitempty"`
	ExternalPassword string `yaml:"externalPassword,omitempty"`
	// Members are all members of the embedded store, name → peer URL: 1, 3 or 5 of them. A witness is a member like the others.
	Members map[string]string `yaml:"members,omitempty"`
	// ListenPeer and ListenClient are host:port.
	ListenPeer   string `yaml:"listenPeer,omitempty"`
	ListenClient string `yaml:"listenClient,omitempty"`
	// Heartbeat and Election time the store's own leader election; 60 ms and 600 ms where zero.
	Heartbeat time.Duration `yaml:"heartbeat,omitempty"`
	Election  time.Duration `yaml:"election,omitempty"`
	// Join starts an empty directory as a new member of a running store that was told of it before.
	Join bool `yaml:"join,omitempty"`
	// QuotaBytes bounds the store's size; 2 GiB where zero.
	QuotaBytes int64 `yaml:"quotaBytes,omitempty"`
}

// AgentConfig is the configuration of the agent of one database directory. Name is the member's.
type AgentConfig struct {
	Common `yaml:",inline"`
	Group  string `yaml:"group"`
	// Listen is the address for nodes and other agents, host:port.
	Listen   string   `yaml:"listen"`
	Postgres Postgres `yaml:"postgres"`
}

// Postgres is the server an agent looks after. Its data directory is DataDir/data unless Directory says otherwise.
type Postgres struct {
	// Bin holds initdb, pg_ctl, postgres; the newest under /usr/lib/postgresql where empty.
	Bin       string `yaml:"bin,omitempty"`
	Directory string `yaml:"directory,omitempty"`
	// User runs the server when the agent is root; "postgres" where empty.
	User   string `yaml:"user,omitempty"`
	Listen string `yaml:"listen"` // address
	Port   int    `yaml:"port"`
	// Database is the business database; "perdure" where empty.
	Database string `yaml:"database,omitempty"`
	// ReplicationSecret is a file whose content replication passwords are derived from: the same on all members of a group.
	ReplicationSecret string `yaml:"replicationSecret"`
	// AppPasswordFile holds the password of role perdure_app that applications use.
	AppPasswordFile string `yaml:"appPasswordFile,omitempty"`
	// InitSQL are files run once as superuser when the directory is created from nothing.
	InitSQL []string `yaml:"initSQL,omitempty"`
	// Settings are further server settings; those the protocol depends on are refused.
	Settings map[string]string `yaml:"settings,omitempty"`
}

// GatewayConfig is the configuration of a gateway.
type GatewayConfig struct {
	Common `yaml:",inline"`
	// Listen takes business traffic, Admin metrics, table and ledger (mutual TLS); host:port.
	Listen string `yaml:"listen"`
	Admin  string `yaml:"admin"`
	// TrafficCert and TrafficKey serve TLS to clients; plain HTTP where empty.
	TrafficCert string `yaml:"trafficCert,omitempty"`
	TrafficKey  string `yaml:"trafficKey,omitempty"`
	// TrafficClientCA signs the certificates of clients: the common name of one that is shown is the caller, whatever the request says.
	TrafficClientCA string `yaml:"trafficClientCA,omitempty"`
	// Gateways are the other gateways: receipts are shipped to them, and they are asked who owns what while no node is heard.
	Gateways []Peer `yaml:"gateways,omitempty"`
	// AccessLog is "off", "errors" or "all"; errors where empty.
	AccessLog string `yaml:"accessLog,omitempty"`
}

// LoadConfig reads a YAML file into config. Its errors name file, line and field, and what is allowed.
func LoadConfig(file string, config any) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return errs.New(errs.Invalid, "cannot read configuration: %w", err)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	switch err := decoder.Decode(config); {
	case errors.Is(err, io.EOF):
		return errs.New(errs.Invalid, "%s is empty: it holds no configuration", filepath.Clean(file))
	case err != nil:
		return errs.New(errs.Invalid, "%s", strings.Join(explain(filepath.Clean(file), err, reflect.TypeOf(config)), "\n"))
	}
	return nil
}

var (
	atLine       = regexp.MustCompile(`^(?:yaml: )?line (\d+): (.*)$`)
	unknownField = regexp.MustCompile(`^field (\S+) not found in type (\S+)$`)
)

// explain puts what the decoder says into the form of all our errors, one for each problem.
func explain(file string, err error, config reflect.Type) []string {
	said := []string{err.Error()}
	var types *yaml.TypeError
	if errors.As(err, &types) {
		said = types.Errors
	}
	for i, text := range said {
		m := atLine.FindStringSubmatch(text)
		if m == nil {
			said[i] = file + ": " + text
			continue
		}
		said[i] = file + ":" + m[1] + ": " + m[2]
		if f := unknownField.FindStringSubmatch(m[2]); f != nil {
			said[i] = fmt.Sprintf("%s:%s: there is no field %q here; allowed: %s", file, m[1], f[1], strings.Join(fieldsOf(config, f[2]), ", "))
		}
	}
	return said
}

// fieldsOf lists the fields of the type of that name, wherever it stands in t.
func fieldsOf(t reflect.Type, name string) []string {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		return fieldsOf(t.Elem(), name)
	case reflect.Struct:
	default:
		return nil
	}
	if t.String() == name {
		return yamlFields(t)
	}
	for f := range t.Fields() {
		if found := fieldsOf(f.Type, name); found != nil {
			return found
		}
	}
	return nil
}

func yamlFields(t reflect.Type) []string {
	var names []string
	for f := range t.Fields() {
		tag, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if options == "inline" {
			names = append(names, yamlFields(f.Type)...)
			continue
		}
		names = append(names, tag)
	}
	return names
}
