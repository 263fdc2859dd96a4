package pki

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"sync"
	"time"

	"perdure/internal/errs"
)

// ServerTLS is the configuration of a listener that shows the certificate of f and verifies client certificates
// with the authority of f. Clients without a certificate are let through (they may hold a token) unless require is set;
// a client certificate of another authority is refused. Renewed certificate files are taken up without a restart.
func (f Files) ServerTLS(require bool) (*tls.Config, error) {
	pool, keeper, err := f.load()
	if err != nil {
		return nil, err
	}
	auth := tls.VerifyClientCertIfGiven
	if require {
		auth = tls.RequireAndVerifyClientCert
	}
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		ClientCAs:      pool,
		ClientAuth:     auth,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return keeper.current() },
	}, nil
}

// PublicTLS is the configuration of a listener that shows the certificate of f to anybody. Where f names an authority, clients may show a
// certificate of it. Renewed certificate files are taken up without a restart.
func (f Files) PublicTLS() (*tls.Config, error) {
	k := &keeper{files: f}
	if _, err := k.current(); err != nil {
		return nil, err
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return k.current() }}
	if f.CA == "" {
		return config, nil
	}
	pool, err := loadPool(f.CA)
	config.ClientCAs, config.ClientAuth = pool, tls.VerifyClientCertIfGiven
	return config, err
}

// ClientTLS is the configuration of a client that shows the certificate of f, where it names one,
// and trusts only servers of the authority of f. Renewed certificate files are taken up without a restart.
func (f Files) ClientTLS() (*tls.Config, error) {
	if f.Cert == "" && f.Key == "" {
		pool, err := loadPool(f.CA)
		if err != nil {
			return nil, err
		}
		return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}, nil
	}
	pool, keeper, err := f.load()
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion:           tls.VersionTLS12,
		RootCAs:              pool,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return keeper.current() },
	}, nil
}

func (f Files) load() (*x509.CertPool, *keeper, error) {
	pool, err := loadPool(f.CA)
	if err != nil {
		return nil, nil, err
	}
	k := &keeper{files: f}
	if _, err := k.current(); err != nil {
		return nil, nil, err
	}
	return pool, k, nil
}

func loadPool(path string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, errs.New(errs.Invalid, "cannot read the authority's certificate: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errs.New(errs.Invalid, "%s holds no certificate; give the estate's CA certificate in PEM", path)
	}
	return pool, nil
}

// keeper holds the newest readable pair of the files. A half-written or unreadable renewal leaves the old one in use.
type keeper struct {
	files Files

	mu      sync.Mutex
	pair    *tls.Certificate
	written [2]time.Time
}

func (k *keeper) current() (*tls.Certificate, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	written, err := k.stat()
	if err == nil && k.pair != nil && written == k.written {
		return k.pair, nil
	}
	if err == nil {
		var pair tls.Certificate
		pair, err = tls.LoadX509KeyPair(k.files.Cert, k.files.Key)
		if err == nil {
			k.pair, k.written = &pair, written
			return k.pair, nil
		}
	}
	if k.pair != nil {
		return k.pair, nil
	}
	return nil, errs.New(errs.Invalid, "cannot use certificate %s with key %s: %w", k.files.Cert, k.files.Key, err)
}

func (k *keeper) stat() ([2]time.Time, error) {
	var written [2]time.Time
	for i, path := range []string{k.files.Cert, k.files.Key} {
		info, err := os.Stat(path)
		if err != nil {
			return written, err
		}
		written[i] = info.ModTime()
	}
	return written, nil
}
