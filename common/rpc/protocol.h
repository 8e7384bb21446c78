// Versions that two processes compare.
#ifndef DASM_COMMON_RPC_PROTOCOL_H_
#define DASM_COMMON_RPC_PROTOCOL_H_

namespace dasm {

// Of the worker protocol. A coordinator serves this and the one before.
inline constexpr int kProtocol = 1;
inline constexpr int kOldestProtocol = 1;

}  // namespace dasm

#endif  // DASM_COMMON_RPC_PROTOCOL_H_
