"""What `ragkit train …` does with corpora and collections: passages in, trained models out."""
