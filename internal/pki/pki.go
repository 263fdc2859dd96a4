// Package pki is the estate's own certificate authority and the certificates it issues to nodes, agents, gateways and applications.
// Everything is ECDSA P-256 in PEM files; private keys are written with mode 0600.
package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"perdure/internal/errs"
)

// backdate makes a certificate valid on machines whose clocks are behind the authority's.
const backdate = time.Hour

// Authority signs the estate's certificates.
type Authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pair Pair
}

// Pair is a certificate and its private key, both PEM.
type Pair struct {
	Cert, Key []byte
}

// Request says what certificate is wanted.
type Request struct {
	// CommonName is the machine identity, for example "agent:u1-a".
	CommonName string
	// DNS and IPs are the names it serves under; needed where Server is set.
	DNS []string
	IPs []net.IP
	// Server and Client say what it may be used for; at least one.
	Server, Client bool
	// Validity is how long it is valid, at least one minute.
	Validity time.Duration
}

// NewAuthority makes a self-signed authority that is valid from an hour before now for the given time.
func NewAuthority(name string, now time.Time, validity time.Duration) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, errs.New(errs.Internal, "cannot make the authority's key: %w", err)
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(validity),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, errs.New(errs.Internal, "cannot sign the authority %q: %w", name, err)
	}
	pair, err := encode(der, key)
	if err != nil {
		return nil, err
	}
	return ParseAuthority(pair)
}

// ParseAuthority reads an authority from PEM.
func ParseAuthority(pair Pair) (*Authority, error) {
	block, _ := pem.Decode(pair.Cert)
	if block == nil {
		return nil, errs.New(errs.Invalid, "the authority's certificate is not PEM; give the PEM file of the authority")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, errs.New(errs.Invalid, "cannot read the authority's certificate: %w", err)
	}
	if !cert.IsCA {
		return nil, errs.New(errs.Invalid, "certificate %q is not an authority; give the estate's CA certificate", cert.Subject.CommonName)
	}
	block, _ = pem.Decode(pair.Key)
	if block == nil {
		return nil, errs.New(errs.Invalid, "the authority's key is not PEM; give the PEM file of the authority")
	}
	key, err := x509.ParseECPrivateKey(block.Bytes)
	if err != nil {
		return nil, errs.New(errs.Invalid, "cannot read the authority's key: %w", err)
	}
	if !key.PublicKey.Equal(cert.PublicKey) {
		return nil, errs.New(errs.Invalid, "the authority's key does not belong to its certificate")
	}
	return &Authority{cert: cert, key: key, pair: pair}, nil
}

// Pair gives the authority's own certificate and key.
func (a *Authority) Pair() Pair { return a.pair }

// Issue signs a certificate, valid from an hour before now.
func (a *Authority) Issue(r Request, now time.Time) (Pair, error) {
	if r.CommonName == "" || !r.Server && !r.Client {
		return Pair{}, errs.New(errs.Invalid, "cannot issue a certificate without a name and a use (server, client)")
	}
	if r.Server && len(r.DNS)+len(r.IPs) == 0 {
		return Pair{}, errs.New(errs.Invalid, "cannot issue server certificate %q: name at least one host it serves under", r.CommonName)
	}
	if r.Validity < time.Minute {
		return Pair{}, errs.New(errs.Invalid, "cannot issue certificate %q for %s: the least is 1m", r.CommonName, r.Validity)
	}
	end := now.Add(r.Validity)
	if end.After(a.cert.NotAfter) {
		end = a.cert.NotAfter
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, errs.New(errs.Internal, "cannot make the key of %q: %w", r.CommonName, err)
	}
	serial, err := newSerial()
	if err != nil {
		return Pair{}, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: r.CommonName},
		NotBefore:    now.Add(-backdate),
		NotAfter:     end,
		DNSNames:     r.DNS,
		IPAddresses:  r.IPs,
		KeyUsage:     x509.KeyUsageDigitalSignature,
	}
	if r.Server {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	if r.Client {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageClientAuth)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		return Pair{}, errs.New(errs.Internal, "cannot sign the certificate of %q: %w", r.CommonName, err)
	}
	return encode(der, key)
}

// Files are the paths of a certificate, its key and the authority that others are verified with.
type Files struct {
	Cert, Key, CA string
}

// IsZero reports whether no files are named.
func (f Files) IsZero() bool { return f == Files{} }

// FilesIn names the files of one identity in a directory: NAME.crt, NAME.key and ca.crt.
func FilesIn(dir, name string) Files {
	return Files{Cert: filepath.Join(dir, name+".crt"), Key: filepath.Join(dir, name+".key"), CA: filepath.Join(dir, "ca.crt")}
}

// Write stores the pair and the authority's certificate at the paths, each replaced whole; the key has mode 0600.
func (f Files) Write(pair Pair, ca []byte) error {
	if err := replace(f.Key, pair.Key, 0o600); err != nil {
		return err
	}
	if err := replace(f.Cert, pair.Cert, 0o644); err != nil {
		return err
	}
	return replace(f.CA, ca, 0o644)
}

func replace(path string, data []byte, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return errs.New(errs.Unavailable, "cannot make the folder of %s: %w", path, err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".pki-*")
	if err != nil {
		return errs.New(errs.Unavailable, "cannot write %s: %w", path, err)
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(data)
	if err == nil {
		err = tmp.Chmod(mode)
	}
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return errs.New(errs.Unavailable, "cannot write %s: %w", path, err)
	}
	return nil
}

func newSerial() (*big.Int, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, errs.New(errs.Internal, "cannot choose a serial number: %w", err)
	}
	return serial, nil
}

func encode(der []byte, key *ecdsa.PrivateKey) (Pair, error) {
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return Pair{}, errs.New(errs.Internal, "cannot encode a private key: %w", err)
	}
	return Pair{
		Cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		Key:  pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER}),
	}, nil
}
