// SPDX-License-Identifier: Apache-2.0
#include "support/small_model.h"

#include "models/var/convert.h"

namespace nextscale {

RandomVarShape small_var_shape() {
  RandomVarShape shape;
  shape.depth = 2;
  shape.patch_nums = {1, 2, 3, 5, 8};
  shape.vocab = 100;
  shape.latent_channels = 12;
  shape.classes = 10;
  shape.base_channels = 32;
  return shape;
}

std::filesystem::path make_model(const std::filesystem::path& folder, const RandomVarShape& shape,
                                 DType dtype) {
  constexpr uint64_t kSeed = 17;
  const VarConfig config = random_var_config(shape);
  write_random_transformer(folder / "var.pth", config, kSeed, Buffers::kOfficial);
  write_random_vae(folder / "vae.pth", config, kSeed, Buffers::kNone);
  convert_var({.transformer = folder / "var.pth",
               .vae = folder / "vae.pth",
               .output = folder / "model",
               .patch_nums = shape.patch_nums,
               .dtype = dtype});
  return folder / "model";
}

}  // namespace nextscale
