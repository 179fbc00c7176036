"""From a model folder to a package: recognise, write a recipe, select files, hash, lay out."""
