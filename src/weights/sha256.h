// SPDX-License-Identifier: Apache-2.0
// SHA-256 of bytes and files, as 64 lower-case hexadecimal digits. Used to name models and to
// record what a model folder was made from. Sha256 owns its state; one object per thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

struct evp_md_ctx_st;  // OpenSSL's digest state

namespace nextscale {

class Sha256 {
 public:
  Sha256();
  void add(std::span<const std::byte> bytes);
  // The digest of everything added. The object is spent afterwards.
  std::string finish();

 private:
  struct Free {
    void operator()(evp_md_ctx_st* state) const;
  };
  std::unique_ptr<evp_md_ctx_st, Free> state_;
};

std::string sha256_hex(std::span<const std::byte> bytes);
std::string sha256_hex(std::string_view text);

// Hashes a file in pieces; `on_bytes` (may be empty) is told how many bytes each piece had. Throws
// Error(kNotFound, kIo).
std::string sha256_of_file(const std::filesystem::path& path,
                           const std::function<void(uint64_t)>& on_bytes = {});

}  // namespace nextscale
