import java.io.File;
import java.io.IOException;
import java.net.Socket;
import java.nio.file.Files;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.Principal;
import java.security.PrivateKey;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.Base64;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.X509ExtendedKeyManager;

/**
 * The certificate and key that are shown to the hub: read anew for every connection, so that a
 * renewed certificate needs no restart. A pair that cannot be read leaves the old one in use.
 */
final class Identity extends X509ExtendedKeyManager {
  private static final String ALIAS = "luytre";

  private final File cert;
  private final File key;
  private volatile Pair current;

  private record Pair(X509Certificate[] chain, PrivateKey key) {}

  Identity(File cert, File key) throws IOException, GeneralSecurityException {
    this.cert = cert;
    this.key = key;
    current = read();
  }

  private Pair read() throws IOException, GeneralSecurityException {
    try (var in = Files.newInputStream(cert.toPath())) {
      var chain = CertificateFactory.getInstance("X.509").generateCertificates(in);
      X509Certificate[] certificates = chain.toArray(new X509Certificate[0]);
      // PKCS #8, of the kind of the certificate's own key: EC or Ed25519.
      String kind = certificates[0].getPublicKey().getAlgorithm();
      String pem = Files.readString(key.toPath()).replaceAll("-----[A-Z ]+-----|\\s", "");
      var encoded = new PKCS8EncodedKeySpec(Base64.getDecoder().decode(pem));
      return new Pair(certificates, KeyFactory.getInstance(kind).generatePrivate(encoded));
    }
  }

  /** Called first, for each connection. */
  @Override
  public String chooseEngineClientAlias(String[] kinds, Principal[] issuers, SSLEngine engine) {
    try {
      current = read();
    } catch (IOException | GeneralSecurityException unreadable) {
      System.err.println("the renewed certificate cannot be used; the old one stays: " + unreadable);
    }
    return ALIAS;
  }

  @Override
  public String chooseClientAlias(String[] kinds, Principal[] issuers, Socket socket) {
    return chooseEngineClientAlias(kinds, issuers, null);
  }

  @Override
  public X509Certificate[] getCertificateChain(String alias) {
    return current.chain();
  }

  @Override
  public PrivateKey getPrivateKey(String alias) {
    return current.key();
  }

  @Override
  public String[] getClientAliases(String kind, Principal[] issuers) {
    return new String[] {ALIAS};
  }

  @Override
  public String[] getServerAliases(String kind, Principal[] issuers) {
    return null;
  }

  @Override
  public String chooseServerAlias(String kind, Principal[] issuers, Socket socket) {
    return null;
  }
}
