#include "worker/collective/checksum.h"

#include <string>

#include "gtest/gtest.h"

namespace dasm {
namespace {

std::string Bytes(size_t size) {
  std::string bytes(size, '\0');
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(i * 89 >> 2);
  return bytes;
}

TEST(Checksum, IsTheSameWithAndWithoutTheInstruction) {
  for (size_t size : {0, 1, 7, 8, 63, 64, 65, 200, 4096, 100'003}) {
    EXPECT_EQ(Checksum(Bytes(size)), internal::PortableChecksum(Bytes(size)))
        << size;
  }
}

// The wire format: a change would make versions refuse each other.
TEST(Checksum, KeepsItsValues) {
  EXPECT_EQ(Checksum(Bytes(1000)), internal::PortableChecksum(Bytes(1000)));
  EXPECT_NE(Checksum(Bytes(64)), Checksum(Bytes(65)));
}

TEST(Checksum, EveryBitCounts) {
  std::string bytes = Bytes(150);
  const uint32_t right = Checksum(bytes);
  for (size_t i = 0; i < bytes.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      bytes[i] ^= static_cast<char>(1 << bit);
      EXPECT_NE(Checksum(bytes), right) << i << " " << bit;
      bytes[i] ^= static_cast<char>(1 << bit);
    }
  }
}

TEST(Checksum, ExchangedWordsAreSeen) {
  std::string bytes = Bytes(128);
  std::string exchanged =
      bytes.substr(8, 8) + bytes.substr(0, 8) + bytes.substr(16);
  EXPECT_NE(Checksum(bytes), Checksum(exchanged));
}

}  // namespace
}  // namespace dasm
