#include "worker/collective/gang_proof.h"

#include "absl/strings/str_cat.h"
#include "common/base/logging.h"
#include "openssl/crypto.h"
#include "openssl/evp.h"
#include "openssl/hmac.h"
#include "openssl/rand.h"

namespace dasm {

std::string GangProofOf(std::string_view secret, GangSide side,
                        const GangHandshake& handshake) {
  // Nonces have a fixed length and numbers end at a separator: no two
  // handshakes give the same text.
  const std::string text = absl::StrCat(
      "dasm gang 1 ", side == GangSide::kDialler ? "dialler" : "listener", " ",
      handshake.fence, " ", handshake.dialler, " ", handshake.listener, " ",
      handshake.dialler_nonce, handshake.listener_nonce);
  unsigned char proof[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  const unsigned char* made =
      HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()),
           reinterpret_cast<const unsigned char*>(text.data()), text.size(),
           proof, &size);
  DASM_CHECK(made != nullptr);
  return std::string(reinterpret_cast<const char*>(proof), size);
}

bool GangProofIsRight(std::string_view proof, std::string_view secret,
                      GangSide side, const GangHandshake& handshake) {
  if (handshake.dialler_nonce.size() != kGangNonceBytes ||
      handshake.listener_nonce.size() != kGangNonceBytes) {
    return false;
  }
  const std::string right = GangProofOf(secret, side, handshake);
  return proof.size() == right.size() &&
         CRYPTO_memcmp(proof.data(), right.data(), right.size()) == 0;
}

std::string NewGangNonce() {
  std::string nonce(kGangNonceBytes, '\0');
  DASM_CHECK(RAND_bytes(reinterpret_cast<unsigned char*>(nonce.data()),
                        static_cast<int>(nonce.size())) == 1);
  return nonce;
}

}  // namespace dasm
