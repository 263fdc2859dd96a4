package pki

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"slices"

	"perdure/internal/errs"
)

// NodeDNS is a DNS name that every node's certificate has beside the names of its hosts, and no other certificate has: it opens the
// control-plane store. So no host may be called so.
const NodeDNS = "perdure-node"

// CheckNode refuses a certificate that lacks NodeDNS: the other nodes would not let it in.
func (f Files) CheckNode() error {
	text, err := os.ReadFile(f.Cert)
	if err != nil {
		return errs.New(errs.Invalid, "cannot read the node's certificate: %w", err)
	}
	block, rest := pem.Decode(text)
	for block != nil && block.Type != "CERTIFICATE" { // the first one is its own, the rest is its chain
		block, rest = pem.Decode(rest)
	}
	if block == nil {
		return errs.New(errs.Invalid, "%s holds no certificate; give the node's certificate in PEM", f.Cert)
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return errs.New(errs.Invalid, "%s holds a certificate that cannot be read: %w", f.Cert, err)
	}
	if !slices.Contains(c.DNSNames, NodeDNS) {
		return errs.New(errs.Invalid, "certificate %s (%s) is not a node's: the store lets in only certificates with the DNS name %s; "+
			"issue it again with the additional DNS name %q beside its host names", f.Cert, c.Subject.CommonName, NodeDNS, NodeDNS)
	}
	return nil
}
