// How two processes of a gang prove to each other that they hold its secret
// without showing it: HMAC-SHA256 over who speaks, both nonces, both processes
// and the fence. Neither side's proof can be replayed or turned into the
// other's.
#ifndef DASM_WORKER_COLLECTIVE_GANG_PROOF_H_
#define DASM_WORKER_COLLECTIVE_GANG_PROOF_H_

#include <cstdint>
#include <string>
#include <string_view>

namespace dasm {

inline constexpr size_t kGangSecretBytes = 32;
inline constexpr size_t kGangNonceBytes = 32;

struct GangHandshake {
  uint64_t fence = 0;
  int dialler = 0;   // process
  int listener = 0;  // process
  std::string dialler_nonce;
  std::string listener_nonce;
};

enum class GangSide { kDialler, kListener };

// 32 bytes.
std::string GangProofOf(std::string_view secret, GangSide side,
                        const GangHandshake& handshake);
// In a time that does not depend on where the bytes differ.
bool GangProofIsRight(std::string_view proof, std::string_view secret,
                      GangSide side, const GangHandshake& handshake);
// 32 bytes of the system's randomness.
std::string NewGangNonce();

}  // namespace dasm

#endif  // DASM_WORKER_COLLECTIVE_GANG_PROOF_H_
