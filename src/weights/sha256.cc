// SPDX-License-Identifier: Apache-2.0
#include "weights/sha256.h"

#include <fcntl.h>
#include <openssl/evp.h>

#include <array>
#include <cerrno>
#include <vector>

#include "core/error_format.h"
#include "weights/file_descriptor.h"
#include "weights/file_error.h"

namespace nextscale {
namespace {

constexpr size_t kPieceBytes = size_t{4} << 20;

void require_openssl(int result) {
  if (result != 1) {
    fail(ErrorCode::kInternal, "sha256: OpenSSL refused SHA-256; check its installation");
  }
}

}  // namespace

void Sha256::Free::operator()(evp_md_ctx_st* state) const { EVP_MD_CTX_free(state); }

Sha256::Sha256() : state_(EVP_MD_CTX_new()) {
  require_openssl(state_ != nullptr ? 1 : 0);
  require_openssl(EVP_DigestInit_ex(state_.get(), EVP_sha256(), nullptr));
}

void Sha256::add(std::span<const std::byte> bytes) {
  require_openssl(EVP_DigestUpdate(state_.get(), bytes.data(), bytes.size()));
}

std::string Sha256::finish() {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
  unsigned length = 0;
  require_openssl(EVP_DigestFinal_ex(state_.get(), digest.data(), &length));
  std::string text;
  for (unsigned index = 0; index < length; ++index) text += fmt::format("{:02x}", digest[index]);
  return text;
}

std::string sha256_hex(std::span<const std::byte> bytes) {
  Sha256 hash;
  hash.add(bytes);
  return hash.finish();
}

std::string sha256_hex(std::string_view text) {
  return sha256_hex(std::as_bytes(std::span(text.data(), text.size())));
}

std::string sha256_of_file(const std::filesystem::path& path,
                           const std::function<void(uint64_t)>& on_bytes) {
  const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.is_open()) fail_system("open", path, errno);
  Sha256 hash;
  std::vector<std::byte> piece(kPieceBytes);
  for (;;) {
    const ssize_t count = ::read(file.number(), piece.data(), piece.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail_system("read", path, errno);
    if (count == 0) return hash.finish();
    hash.add(std::span(piece).first(static_cast<size_t>(count)));
    if (on_bytes) on_bytes(static_cast<uint64_t>(count));
  }
}

}  // namespace nextscale
