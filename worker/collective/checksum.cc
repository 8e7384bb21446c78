#include "worker/collective/checksum.h"

#include <array>
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

namespace dasm {
namespace {

constexpr int kLanes = 8;
constexpr int64_t kWord = 8;

constexpr std::array<uint32_t, 256> MakeTable() {
  std::array<uint32_t, 256> table{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t value = byte;
    for (int bit = 0; bit < 8; ++bit) {
      value = (value >> 1) ^ ((value & 1) != 0 ? 0x82F63B78u : 0u);
    }
    table[byte] = value;
  }
  return table;
}
constexpr std::array<uint32_t, 256> kTable = MakeTable();

struct PortableCrc {
  static uint32_t Byte(uint32_t crc, uint8_t byte) {
    return (crc >> 8) ^ kTable[(crc ^ byte) & 0xFF];
  }
  static uint32_t Word(uint32_t crc, uint64_t word) {
    for (int i = 0; i < 8; ++i) {
      crc = Byte(crc, static_cast<uint8_t>(word >> (8 * i)));
    }
    return crc;
  }
};

#if defined(__x86_64__)
struct HardwareCrc {
  __attribute__((target("sse4.2"))) static uint32_t Byte(uint32_t crc,
                                                         uint8_t byte) {
    return _mm_crc32_u8(crc, byte);
  }
  __attribute__((target("sse4.2"))) static uint32_t Word(uint32_t crc,
                                                         uint64_t word) {
    return static_cast<uint32_t>(_mm_crc32_u64(crc, word));
  }
};
#endif

// Little-endian, as are all machines that this runs on.
uint64_t Load(const char* at) {
  uint64_t word;
  std::memcpy(&word, at, sizeof(word));
  return word;
}

template <typename Crc>
[[gnu::always_inline]] inline uint32_t Lanes(absl::Span<const char> bytes) {
  uint32_t lanes[kLanes];
  for (uint32_t& lane : lanes) lane = ~0u;
  const char* at = bytes.data();
  const char* const end = at + bytes.size();
  for (; end - at >= kLanes * kWord; at += kLanes * kWord) {
    for (int lane = 0; lane < kLanes; ++lane) {
      lanes[lane] = Crc::Word(lanes[lane], Load(at + lane * kWord));
    }
  }
  uint32_t crc = ~0u;
  for (uint32_t lane : lanes) crc = Crc::Word(crc, lane);
  for (; at < end; ++at) crc = Crc::Byte(crc, static_cast<uint8_t>(*at));
  return ~crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"), flatten)) uint32_t HardwareChecksum(
    absl::Span<const char> bytes) {
  return Lanes<HardwareCrc>(bytes);
}
#endif

}  // namespace

namespace internal {
uint32_t PortableChecksum(absl::Span<const char> bytes) {
  return Lanes<PortableCrc>(bytes);
}
}  // namespace internal

uint32_t Checksum(absl::Span<const char> bytes) {
#if defined(__x86_64__)
  static const bool has_instruction = __builtin_cpu_supports("sse4.2");
  if (has_instruction) return HardwareChecksum(bytes);
#endif
  return internal::PortableChecksum(bytes);
}

}  // namespace dasm
