#include "worker/collective/gang_proof.h"

#include <string>

#include "absl/strings/escaping.h"
#include "gtest/gtest.h"

namespace dasm {
namespace {

const std::string kSecret(32, 'k');

GangHandshake Handshake() {
  return {.fence = 7,
          .dialler = 2,
          .listener = 1,
          .dialler_nonce = std::string(32, 'a'),
          .listener_nonce = std::string(32, 'b')};
}

// python3: hmac.new(b"k"*32, b"dasm gang 1 dialler 7 2 1 " + b"a"*32 +
// b"b"*32, "sha256").hexdigest()
TEST(GangProof, IsTheHmacOfTheHandshake) {
  EXPECT_EQ(absl::BytesToHexString(
                GangProofOf(kSecret, GangSide::kDialler, Handshake())),
            "0cd7ef0eabd56ff3c09f7bd4ee82fab6e675f101eff2d06d5b06ba3b3f6c721a");
}

TEST(GangProof, AnyOtherHandshakeSecretOrSideIsWrong) {
  const std::string proof =
      GangProofOf(kSecret, GangSide::kDialler, Handshake());
  EXPECT_TRUE(
      GangProofIsRight(proof, kSecret, GangSide::kDialler, Handshake()));
  EXPECT_FALSE(
      GangProofIsRight(proof, kSecret, GangSide::kListener, Handshake()));
  EXPECT_FALSE(GangProofIsRight(proof, std::string(32, 'x'), GangSide::kDialler,
                                Handshake()));
  EXPECT_FALSE(GangProofIsRight("", kSecret, GangSide::kDialler, Handshake()));
  for (int field = 0; field < 5; ++field) {
    GangHandshake other = Handshake();
    if (field == 0) other.fence = 8;
    if (field == 1) other.dialler = 3;
    if (field == 2) other.listener = 0;
    if (field == 3) other.dialler_nonce[31] = 'c';
    if (field == 4) other.listener_nonce[0] = 'c';
    EXPECT_FALSE(GangProofIsRight(proof, kSecret, GangSide::kDialler, other))
        << field;
  }
  GangHandshake empty = Handshake();
  empty.listener_nonce = "";
  EXPECT_FALSE(GangProofIsRight(GangProofOf(kSecret, GangSide::kDialler, empty),
                                kSecret, GangSide::kDialler, empty));
}

TEST(GangProof, NoncesDiffer) { EXPECT_NE(NewGangNonce(), NewGangNonce()); }

}  // namespace
}  // namespace dasm
